"""What data parallelism promises: the result of one process on the concatenated batch.

Every case is a step of a model over local batches of uneven sizes, one of them 0, eager and
compiled, with one bucket and with many.
"""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import nn, optim, parallel
from hpcad.autodiff import grad, hvp, jvp, vhp
from hpcad.program.compiled import compile as compiled

pytestmark = pytest.mark.mpi

N, STEPS = 13, 4
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((STEPS, N, 6)), rng.integers(0, 6, (STEPS, N))
TOKENS = rng.integers(0, 6, (STEPS, N, 4))
SIZES = {1: [N], 2: [9, 4], 3: [6, 0, 7], 4: [4, 0, 7, 2]}


@pytest.fixture(scope="module")
def world():
    return parallel.init()


def part(world):
    sizes = SIZES[world.size]
    start = sum(sizes[: world.rank])
    return slice(start, start + sizes[world.rank])


class Case:
    """A model and its step, on this rank's part or alone on all samples.

    Parameters
    ----------
    world : World or None
        None for one process.
    """

    clip = None
    momentum = 0.9

    def __init__(self, world, **options):
        self.world = world
        self.model = self.make()
        self.model.initialize(1, np.float64)
        self.prepare()
        if world is not None:
            self.engine = parallel.DataParallel(self.model, world, **options)
        self.optimizer = optim.SGD(
            self.model, 0.3, momentum=self.momentum, weight_decay=0.01, clip_norm=self.clip
        )

    def make(self):
        return nn.Sequential(nn.Linear(6, 9), nn.tanh, nn.Linear(9, 8), nn.tanh, nn.Linear(8, 6))

    def prepare(self):
        """What is done to the model before its engine is made."""

    @property
    def mine(self):
        return slice(None) if self.world is None else part(self.world)

    def mean(self, losses, **options):
        """Over all samples; of the ranks' micro batches, as a share of ``count``."""
        return hnp.mean(losses) if self.world is None else parallel.mean(losses, **options)

    def batch(self, k):
        return X[k, self.mine], Y[k, self.mine]

    def step(self, x, y):
        loss = self.mean(nn.cross_entropy(self.model(x), y, "none"))
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Uneven(Case):
    pass


class Clipped(Case):
    """The norm that is limited is that of the gradient of the global mean."""

    clip = 0.05


class Tied(Case):
    """The table of an embedding is also the matrix of the output."""

    class Model(nn.Module):
        def __init__(self):
            self.embed, self.hidden = (
                nn.Embedding(6, 8, nn.initializers.normal(1.0)),
                nn.Linear(8, 8),
            )
            self.decode = self.embed

        def forward(self, tokens):
            return nn.tanh(self.hidden(self.embed(tokens))) @ self.decode.weight.T

    def make(self):
        return self.Model()

    def batch(self, k):
        return TOKENS[k, self.mine], np.roll(TOKENS[k], 1, axis=1)[self.mine]


class Experts(Case):
    """Which expert a sample meets depends on it: ranks but the first use one, nobody the third."""

    class Model(nn.Module):
        def __init__(self):
            self.first, self.experts = nn.Linear(6, 8), [nn.Linear(8, 6) for _ in range(3)]

        def forward(self, x, y, kinds):
            h = nn.tanh(self.first(x))
            losses = [h[:0, 0]]  # where there are no samples at all
            for k, expert in enumerate(self.experts):
                rows = np.flatnonzero(kinds == k)
                if len(rows):
                    losses.append(nn.cross_entropy(expert(h[rows]), y[rows], "none"))
            return hnp.concatenate(losses)

    def make(self):
        return self.Model()

    def batch(self, k):
        kinds = np.arange(N) % 2 * (np.arange(N) < SIZES[parallel.init().size][0])
        return X[k, self.mine], Y[k, self.mine], kinds[self.mine]

    def step(self, x, y, kinds):
        loss = self.mean(self.model(x, y, kinds))
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Frozen(Case):
    def prepare(self):
        self.model.stages[0].weight.freeze()
        self.model.stages[4].bias.freeze()
        self.model.spare = nn.Parameter(np.ones(5))  # and one that nobody uses


class Accumulated(Case):
    """Two micro batches of other sizes on every rank, reduced once."""

    clip = 0.5

    def step(self, x, y):
        total = 0.0
        if self.world is None:
            return super().step(x, y)
        middle = len(x) // 3
        for last, rows in ((False, slice(0, middle)), (True, slice(middle, None))):
            losses = nn.cross_entropy(self.model(x[rows]), y[rows], "none")
            # Each mean is over all samples of the step.
            loss = self.mean(losses, count=N)
            if last:
                loss.backward()
            else:
                with self.engine.no_sync():
                    loss.backward()
            total = total + loss.detach()
        self.optimizer.step()
        return total


class Penalised(Case):
    """A term without samples, equal on all ranks, counts once."""

    def step(self, x, y):
        loss = self.mean(nn.cross_entropy(self.model(x), y, "none"))
        loss = loss + 0.01 * sum((p * p).sum() for p in self.model.parameters())
        loss.backward()
        self.optimizer.step()
        return loss.detach()


CASES = [Uneven, Clipped, Tied, Experts, Frozen, Accumulated, Penalised]


@pytest.mark.parametrize(
    ("bucket_mb", "overlap", "compile"),
    [(1e-4, True, False), (1e-3, False, False), (4.0, True, False), (1e-4, True, True)],
)
@pytest.mark.parametrize("case", CASES)
def test_equals_one_process(world, case, bucket_mb, overlap, compile):
    split, alone = (
        case(world, bucket_mb=bucket_mb, first_bucket_mb=bucket_mb, overlap=overlap),
        case(None),
    )
    # Experts look at the numbers of an argument: the compiled step says so and goes on eagerly.
    stays_eager = case is Experts
    step = split.step
    if compile:
        step = compiled(split.step, strict=not stays_eager, native=False)
    for k in range(STEPS):
        found, expected = step(*split.batch(k)), alone.step(*alone.batch(k))
        np.testing.assert_allclose(float(found), float(expected), rtol=1e-9)
        if case.clip is not None:
            norms = split.optimizer.gradient_norm, alone.optimizer.gradient_norm
            np.testing.assert_allclose(*norms, rtol=1e-9)
            assert case is not Clipped or norms[0] > case.clip
    assert not compile or stays_eager or step.program.steps
    for own, expected in zip(split.model.parameters(), alone.model.parameters(), strict=True):
        np.testing.assert_allclose(own.numpy(), expected.numpy(), rtol=1e-8, atol=1e-11)


# -- derivatives of the data-parallel loss, by transforms ------------------------------------------

W = rng.standard_normal((6, 6)) / 3
V = rng.standard_normal(W.shape)
OUTER = {
    "mean": lambda m: m,
    "square of the mean": lambda m: m * m,
    "logarithm of the mean": lambda m: hnp.log(m),
    "mean with a penalty": lambda m: m,
}


def losses(w, x, y):
    return nn.cross_entropy(hnp.tanh(x @ w), y, "none")


def pair(world, name):
    """The loss over the ranks' parts, and that of one process."""
    outer, mine = OUTER[name], part(world)

    def penalty(w):
        return 0.1 * hnp.sum(w**4) if "penalty" in name else 0.0

    def split(w):
        return outer(parallel.mean(losses(w, X[0, mine], Y[0, mine]))) + penalty(w)

    def alone(w):
        return outer(hnp.mean(losses(w, X[0], Y[0]))) + penalty(w)

    return split, alone


def averaged(world, x):
    return parallel.allreduce(np.asarray(x), "mean", world.communicator)


PRODUCTS = {
    "forward over reverse": hvp,
    "reverse over forward": vhp,
    "reverse over reverse": lambda f, w, v: grad(lambda u: hnp.sum(grad(f)(u) * v))(w),
    "reverse over the tangent": lambda f, w, v: grad(lambda u: jvp(f, (u,), (v,))[1])(w),
}


@pytest.mark.parametrize("name", OUTER)
def test_gradient_and_tangent(world, name):
    split, alone = pair(world, name)
    np.testing.assert_allclose(averaged(world, grad(split)(W)), grad(alone)(W), rtol=1e-10)
    for f in (split, alone):
        assert float(f(W)) == pytest.approx(float(alone(W)), rel=1e-12)
    np.testing.assert_allclose(jvp(split, (W,), (V,)), jvp(alone, (W,), (V,)), rtol=1e-10)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("name", OUTER)
def test_second_derivatives(world, name, product):
    split, alone = pair(world, name)
    found = averaged(world, PRODUCTS[product](split, W, V))
    np.testing.assert_allclose(found, PRODUCTS[product](alone, W, V), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("product", PRODUCTS)
def test_second_derivatives_compiled(world, product):
    split, alone = pair(world, "square of the mean")
    program = compiled(lambda w, v: PRODUCTS[product](split, w, v), strict=True, native=False)
    for _ in range(4):
        found = averaged(world, program(W, V))
        np.testing.assert_allclose(found, PRODUCTS[product](alone, W, V), rtol=1e-9, atol=1e-12)
    assert program.program.steps


def slope_along(loss, comm):
    return jvp(loss, (np.zeros_like(W),), (V,))[1]


def slope_of_all(loss, comm):
    return hnp.sum(parallel.allreduce(grad(loss)(np.zeros_like(W)), "mean", comm) * V)


@pytest.mark.parametrize("slope", [slope_along, slope_of_all])
def test_backward_through_a_derivative_of_the_loss(world, slope):
    found = []
    for mean, rows in ((parallel.mean, part(world)), (hnp.mean, slice(None))):
        p = nn.Parameter(W)

        def loss(e, p=p, mean=mean, rows=rows):
            return mean(losses(p + e, X[0, rows], Y[0, rows])) ** 2

        along = slope(loss, world.communicator)
        (along * along).backward()
        found.append(p.grad)
    np.testing.assert_allclose(averaged(world, found[0]), found[1], rtol=1e-9)
