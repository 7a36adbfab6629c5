"""Compiled steps of a data-parallel model do what eager ones do, collectives included."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn, optim, parallel
from hpcad.models import MLP, MLPConfig
from hpcad.program.compiled import compile as compiled

pytestmark = pytest.mark.mpi

STEPS, N = 8, 13
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((STEPS, N, 6)), rng.integers(0, 4, (STEPS, N))


class Training:
    """A model, its engine and its optimizer; small buckets, so that several are under way."""

    def __init__(self, dtype="float64", frozen=(), spare=False, **options):
        self.world = parallel.init()
        self.model = MLP(MLPConfig([9, 8, 7]), 6, 4)
        self.model.initialize(1, np.dtype(dtype))
        if spare:
            self.model.spare = nn.Parameter(np.ones(5))
        for i in frozen:
            self.model.parameters()[i].freeze()
        options = {"bucket_mb": 1e-4, "first_bucket_mb": 1e-4} | options
        self.engine = parallel.DataParallel(self.model, self.world, **options)
        self.optimizer = optim.AdamW(self.model, 1e-2, clip_norm=0.5, weight_decay=0.1)
        first, last = (N * (self.world.rank + k) // self.world.size for k in (0, 1))
        self.mine = slice(first, last)

    def batch(self, i):
        x = X[i % STEPS, self.mine].astype(self.model.parameters()[0].dtype)
        return x, Y[i % STEPS, self.mine]

    def loss(self, x, y):
        share = len(x) * self.world.size / N
        return nn.cross_entropy(self.model(x), y) * share

    def step(self, x, y):
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def parameters(self):
        return [p.numpy().copy() for p in self.model.parameters()]


def trained(training, step, steps=STEPS):
    losses = [float(step(*training.batch(i))) for i in range(steps)]
    return losses, training.parameters()


def assert_same(a, b, rtol):
    np.testing.assert_allclose(a[0], b[0], rtol=rtol)
    for p, q in zip(a[1], b[1], strict=True):
        np.testing.assert_allclose(p, q, rtol=rtol, atol=rtol)


def assert_compiled_equals_eager(make, rtol, method="step"):
    fast, slow = make(), make()
    program = compiled(getattr(fast, method), strict=True)
    assert_same(trained(fast, program), trained(slow, getattr(slow, method)), rtol)
    assert program.program.steps  # the last steps ran it


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-5)])
def test_uneven_parts(dtype, rtol, overlap, native, monkeypatch):
    if not native:
        monkeypatch.setenv("HPCAD_NATIVE", "0")
    assert_compiled_equals_eager(lambda: Training(dtype, overlap=overlap), rtol)


def test_frozen_and_unused_parameters():
    assert_compiled_equals_eager(lambda: Training(frozen=(0, 3), spare=True), 1e-10)


class Accumulating(Training):
    local = True

    def step(self, x, y):
        total = 0.0
        middle = len(x) // 2
        parts = [slice(0, middle), slice(middle, None)]
        for i, rows in enumerate(parts):
            loss = self.loss(x[rows], y[rows])
            if self.local and i == 0:
                with self.engine.no_sync():
                    loss.backward()
            else:
                loss.backward()
            total = total + loss.detach()
        self.optimizer.step()
        return total


class AccumulatingInStep(Accumulating):
    local = False


@pytest.mark.parametrize("kind", [Accumulating, AccumulatingInStep])
def test_accumulation_with_and_without_reductions_in_between(kind):
    assert_compiled_equals_eager(kind, 1e-10)


def test_reductions_start_while_the_program_still_runs(monkeypatch):
    training = Training()
    program = compiled(training.step, strict=True)
    trained(training, program, 3)
    unfinished, engine = [], training.engine
    start = engine._in_flight._start

    def watched(bucket):
        unfinished.append(sum(b.pending for b in engine.buckets))
        return start(bucket)

    monkeypatch.setattr(engine._in_flight, "_start", watched)
    program(*training.batch(3))
    assert len(unfinished) == len(engine.buckets)
    assert unfinished[0] > 0
    assert unfinished == sorted(unfinished, reverse=True)


def test_a_rank_may_skip_a_step():
    fast, slow = Training(), Training()
    programs = [compiled(fast.step, strict=True), slow.step]
    for i in range(6):
        for training, step in zip((fast, slow), programs, strict=True):
            if i > 2 and training.world.rank == 0:
                training.engine.skip()
                training.optimizer.step()
            else:
                step(*training.batch(i))
    assert_same(([], fast.parameters()), ([], slow.parameters()), 1e-10)


@pytest.mark.parametrize("change", ["freeze", "thaw", "engine", "no_sync"])
def test_a_change_after_the_capture_is_seen(change):
    fast, slow = Training(frozen=(2,)), Training(frozen=(2,))
    programs = [compiled(fast.step, strict=True), slow.step]
    for training, step in zip((fast, slow), programs, strict=True):
        trained(training, step, 4)
        if change == "freeze":
            training.model.parameters()[0].freeze()
        elif change == "thaw":
            training.model.parameters()[2].freeze(False)
        elif change == "engine":
            training.engine = parallel.DataParallel(training.model, training.world)
        else:
            with training.engine.no_sync():
                step(*training.batch(4))
    assert_same(trained(fast, programs[0]), trained(slow, programs[1]), 1e-10)
