"""SyncBatchNorm over uneven local batches is BatchNorm of the concatenated batch on one rank."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import nn, optim, parallel
from hpcad.autodiff import grad, jvp, value_of
from hpcad.program.compiled import compile as compiled

from .differentiable_cases import NESTINGS, over_ranks
from .differentiable_cases import close as close_numbers
from .groups import make_group

pytestmark = pytest.mark.mpi

WIDTH, N = 3, 11
rng = np.random.default_rng(0)
X = 2 * rng.standard_normal((N, 2, WIDTH)) + 5
V = rng.standard_normal(X.shape)
WEIGHT = rng.standard_normal(X.shape)


@pytest.fixture(scope="module")
def comm():
    return parallel.init().communicator


def close(x, y, tolerance=1e-10):
    close_numbers(value_of(x), value_of(y), tolerance)


def rows(comm):
    """This rank's part: uneven, and none on the second of three or more ranks."""
    sizes = {1: [N], 2: [8, 3], 3: [6, 0, 5], 4: [1, 0, 6, 4]}[comm.size]
    start = sum(sizes[: comm.rank])
    return slice(start, start + sizes[comm.rank])


def layers(comm):
    found = []
    for layer in (parallel.SyncBatchNorm(WIDTH, communicator=comm), nn.BatchNorm(WIDTH)):
        layer.initialize(0, np.float64)
        layer.scale.assign(np.array([1.0, 2.0, 3.0]))
        layer.shift.assign(np.array([0.5, 0.0, -0.5]))
        found.append(layer)
    return found


def output(layer, x):
    with nn.training_step(0, 0):
        return layer(x)


def loss_of(layer, weight):
    return lambda x: hnp.sum(hnp.sin(output(layer, x) * weight))


@pytest.mark.parametrize("kind", ["world", "naive", "mpi", "nodes of 2"])
def test_values_and_running_averages(kind):
    comm = make_group(kind)
    mine, (sync, whole) = rows(comm), layers(comm)
    for k in range(3):
        close(output(sync, X[mine] * k).numpy(), output(whole, X * k).numpy()[mine])
    for own, expected in zip(sync.parameters(), whole.parameters(), strict=True):
        close(own.numpy(), expected.numpy())
        root = own.numpy().copy()
        comm.broadcast(root)
        np.testing.assert_array_equal(own.numpy(), root)
    close(sync(X[mine]).numpy(), whole(X).numpy()[mine])


def test_gradients_of_inputs_and_parameters(comm):
    mine, (sync, whole) = rows(comm), layers(comm)
    close(grad(loss_of(sync, WEIGHT[mine]))(X[mine]), grad(loss_of(whole, WEIGHT))(X)[mine])
    loss_of(sync, WEIGHT[mine])(X[mine]).backward()
    loss_of(whole, WEIGHT)(X).backward()
    for own, expected in ((sync.scale, whole.scale), (sync.shift, whole.shift)):
        close(over_ranks(comm, own.grad), expected.grad)


def test_tangents_of_inputs_and_parameters(comm):
    mine, (sync, whole) = rows(comm), layers(comm)
    here = jvp(lambda x: output(sync, x), (X[mine],), (V[mine],))[1]
    close(here, jvp(lambda x: output(whole, x), (X,), (V,))[1][mine])


@pytest.mark.parametrize("nesting", NESTINGS)
def test_second_derivatives(comm, nesting):
    mine, (sync, whole) = rows(comm), layers(comm)
    product = NESTINGS[nesting]
    found = product(loss_of(sync, WEIGHT[mine]), X[mine], V[mine])
    close(found, product(loss_of(whole, WEIGHT), X, V)[mine], 1e-9)


def test_a_penalty_on_the_gradient_reaches_the_parameters(comm):
    mine, (sync, whole) = rows(comm), layers(comm)
    for layer, here in ((sync, mine), (whole, slice(None))):
        slope = grad(loss_of(layer, WEIGHT[here]))(X[here])
        hnp.sum(slope * slope).backward()
    close(over_ranks(comm, sync.scale.grad), whole.scale.grad, 1e-9)


def test_when_run_again_it_communicates_again_and_counts_once(comm):
    mine, (sync, whole) = rows(comm), layers(comm)
    again = grad(hpcad.remat(loss_of(sync, WEIGHT[mine])))(X[mine])
    close(again, grad(loss_of(whole, WEIGHT))(X)[mine])
    close(sync.running_mean.numpy(), whole.running_mean.numpy())


def test_a_copy_has_parameters_of_its_own_among_the_same_ranks(comm):
    sync, _ = layers(comm)
    twin = copy.deepcopy(sync)
    assert twin.communicator is comm
    close(output(twin, X[rows(comm)]).numpy(), output(sync, X[rows(comm)]).numpy())
    assert twin.scale is not sync.scale


def test_steps_without_any_samples_leave_the_averages(comm):
    sync, _ = layers(comm)
    y = output(sync, X[:0])
    assert y.shape == (0, 2, WIDTH)
    assert not sync.running_mean.numpy().any()
    assert (sync.running_variance.numpy() == 1).all()


def test_single_precision_far_from_zero(comm):
    sync = parallel.SyncBatchNorm(WIDTH, communicator=comm)
    x = (X + 1e4).astype(np.float32)
    exact = (x.astype(float) - x.mean((0, 1), float)) / np.sqrt(x.astype(float).var((0, 1)) + 1e-5)
    y = output(sync, x[rows(comm)])
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.numpy(), exact[rows(comm)], atol=1e-3)


class Training:
    """Convolution, normalisation, and a classifier; the whole batch on every rank if alone."""

    def __init__(self, alone, **options):
        self.world, self.alone = parallel.init(), alone
        width = 4
        self.model = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm(width),
            nn.relu,
            nn.Flatten(),
            nn.Linear(16 * width, 5, False),
            nn.BatchNorm(5),
        )
        if not alone:
            parallel.synchronized(self.model)
        self.model.initialize(1, np.float64)
        if not alone:
            self.engine = parallel.DataParallel(self.model, self.world, **options)
        self.optimizer = optim.SGD(self.model, 0.1, clip_norm=0.2)

    def step(self, x, y):
        with nn.training_step(0, 0):
            losses = nn.cross_entropy(self.model(x), y, "none")
        loss = hnp.mean(losses) if self.alone else parallel.mean(losses)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("bucket_mb", [1e-4, 4.0])
def test_training_equals_that_of_one_process(comm, bucket_mb, compile):
    split, alone = Training(False, bucket_mb=bucket_mb, first_bucket_mb=bucket_mb), Training(True)
    assert type(split.model.stages[1]) is parallel.SyncBatchNorm
    step = compiled(split.step, strict=True) if compile else split.step
    for i in range(6):
        x = np.random.default_rng(i).standard_normal((N, 4, 4, 1))
        y, mine = np.random.default_rng(i).integers(0, 5, N), rows(comm)
        close(float(step(x[mine], y[mine])), float(alone.step(x, y)))
    for own, expected in zip(split.model.parameters(), alone.model.parameters(), strict=True):
        close(own.numpy(), expected.numpy(), 1e-8)


def test_shared_layers_stay_shared_when_converted():
    norm = nn.BatchNorm(3)
    model = nn.Sequential(norm, nn.relu, norm)
    parallel.synchronized(model)
    assert type(model.stages[0]) is parallel.SyncBatchNorm
    assert model.stages[0] is model.stages[2]
    assert model.stages[0].scale is norm.scale
    assert isinstance(parallel.synchronized(norm), parallel.SyncBatchNorm)


class Gated(nn.Module):
    """A late parameter that only rank 0 uses, behind a layer that communicates on all."""

    def __init__(self):
        self.first, self.norm = nn.Linear(3, 3), parallel.SyncBatchNorm(3)
        self.last, self.gate = nn.Linear(3, 4, False), nn.Parameter(np.ones(4))

    def forward(self, x):
        y = self.last(self.norm(self.first(x)))
        return y * self.gate if parallel.init().rank == 0 else y


def test_parameters_used_on_some_ranks_only_need_reductions_at_the_end(comm):
    model = Gated()
    model.initialize(1, np.float64)
    parallel.DataParallel(model, overlap=False, bucket_mb=1e-4, first_bucket_mb=1e-4)
    mine = rows(comm)
    with nn.training_step(0, 0):
        parallel.mean(hnp.sum(model(X[:, 0][mine]) ** 2, 1)).backward()
    weight, x = model.last.weight.value, X[:, 0] @ model.first.weight.value
    hat = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    first = np.arange(N) < (rows(comm).stop if comm.rank == 0 else 0)
    first = over_ranks(comm, first.astype(float))
    y = hat @ weight
    close(model.last.weight.grad, 2 * hat.T @ y / N)
    close(model.gate.grad, 2 * (y * y * first[:, None]).sum(0) / N)


class Micro(Training):
    """Two backward passes a step; with and without a reduction in between."""

    def __init__(self, alone, syncing, **options):
        super().__init__(alone, **options)
        self.syncing = syncing

    def step(self, x, y):
        total = 0.0
        for k, rows in enumerate((slice(0, len(x) // 2), slice(len(x) // 2, None))):
            with nn.training_step(0, 0):
                losses = nn.cross_entropy(self.model(x[rows]), y[rows], "none")
            loss = parallel.mean(losses, count=N)
            if self.syncing or k:
                loss.backward()
            else:
                with self.engine.no_sync():
                    loss.backward()
            total = total + loss.detach()
        self.optimizer.step()
        return total


def test_accumulation_eager_and_compiled_with_and_without_reductions_in_between(comm):
    cases = [Micro(False, syncing) for syncing in (True, False) for _ in range(2)]
    steps = [c.step if k % 2 else compiled(c.step, strict=True, native=False)
             for k, c in enumerate(cases)]  # fmt: skip
    for i in range(5):
        x = np.random.default_rng(i).standard_normal((N, 4, 4, 1))
        y, mine = np.random.default_rng(i).integers(0, 5, N), rows(comm)
        found = [float(step(x[mine], y[mine])) for step in steps]
        close(found, [found[0]] * 4)
    first, *others = cases
    for other in others:
        for a, b in zip(first.model.parameters(), other.model.parameters(), strict=True):
            close(a.numpy(), b.numpy(), 1e-8)


def by_trainer(norm, world):
    model = nn.Sequential(nn.Linear(3, 4, False), norm, nn.tanh, nn.Linear(4, 2))
    model.initialize(1, np.float64)
    x = np.random.default_rng(0).standard_normal((22, 3))
    trainer = hpcad.Trainer(
        model,
        optim.SGD(model, 0.1),
        hpcad.ArrayDataset({"x": x, "y": np.arange(22) % 2}),
        loss=lambda model, batch: nn.cross_entropy(model(batch["x"]), batch["y"]),
        prepare=hpcad.training.Prepare(np.float64),
        batch=9,
        steps=6,
        world=world,
    )
    trainer.run()
    return model.arrays()


def test_the_trainer_gets_what_it_gets_on_one_rank(comm):
    one = {"rank": 0, "size": 1, "local_rank": 0, "local_size": 1, "node": 0, "nodes": 1}
    alone = dataclasses.replace(parallel.init(), **one, communicator=parallel.SerialCommunicator())
    found = by_trainer(parallel.SyncBatchNorm(4), parallel.init())
    for name, expected in by_trainer(nn.BatchNorm(4), alone).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-8, atol=1e-11, err_msg=name)
