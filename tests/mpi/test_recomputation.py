"""Recomputed layers under data parallelism: reduced once, after the second run, in one order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hpcad import nn, parallel
from hpcad.autodiff import remat, remat_sequence

N = 12
rng = np.random.default_rng(0)
X = rng.standard_normal((N, 6))


class Model(nn.Module):
    def __init__(self, recompute):
        self.first = nn.Linear(6, 5)
        self.block = nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.3))
        self.cell = nn.Linear(5, 5)
        self.last = nn.Linear(5, 3)
        self._recompute = recompute

    def step(self, x):
        return nn.tanh(self.cell(x))

    def forward(self, x):
        if self._recompute:
            x = remat(self.block)(self.first(x))
            return self.last(remat_sequence((self.step, 7), 2)(x))
        x = self.block(self.first(x))
        for _ in range(7):
            x = self.step(x)
        return self.last(x)


@pytest.mark.mpi
@pytest.mark.parametrize("overlap", [True, False])
def test_gradients_are_those_without_recomputation_on_the_whole_batch(overlap, monkeypatch):
    world, model, alone = parallel.init(), Model(True), Model(False)
    for each in (model, alone):
        each.initialize(1, np.float64)
    counts = Counter()
    engine = parallel.DataParallel(model, world, bucket_mb=1e-4, overlap=overlap)
    ready = engine.ready

    def counted(parameter):
        counts[parameter.name] += 1
        ready(parameter)

    monkeypatch.setattr(engine, "ready", counted)
    mine = np.array_split(np.arange(N), world.size)[world.rank]
    with nn.training_step(seed=4, step=2, ids=mine):
        loss = (model(X[mine]) ** 2).sum() * (world.size / N)
    loss.backward()
    with nn.training_step(seed=4, step=2, ids=np.arange(N)):
        loss = (alone(X) ** 2).sum() / N
    loss.backward()
    for p, q in zip(model.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-11, atol=1e-14)
    assert counts == dict.fromkeys(counts, 1)
    assert len(counts) == len(model.parameters())
