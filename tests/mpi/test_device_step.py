"""Compiled steps on the strict device, whose gradients are reduced between graphs."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn, optim, parallel
from hpcad.backend import get_backend, strict
from hpcad.models import MLP, MLPConfig
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

pytestmark = pytest.mark.mpi

STEPS = 6


def train(device):
    """Losses and parameters of this rank, and the compiled step."""
    world, backend = parallel.init(), get_backend(device)
    model = MLP(MLPConfig([9, 8, 7]), 6, 4)
    model.initialize(1, np.float32, backend)
    engine = parallel.DataParallel(model, world, bucket_mb=1e-4, first_bucket_mb=1e-4)
    optimizer = optim.AdamW(model, 1e-2, clip_norm=0.5, weight_decay=0.1)

    def step(x, y):
        loss = nn.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = Compiled(step, Options(ahead=True, strict=True))
    random = np.random.default_rng(world.rank)
    losses = []
    for _ in range(STEPS):
        x = backend.asarray(random.standard_normal((5, 6)).astype(np.float32))
        y = backend.asarray(random.integers(0, 4, 5))
        losses.append(float(run(x, y).value))
    return losses, [backend.to_host(p.array) for p in model.parameters()], run, engine


def test_the_host_finds_the_same():
    losses, parameters, run, engine = train("strict")
    expected, host, _, _ = train("cpu")
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for a, b in zip(parameters, host, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    # One graph for the forward pass, one up to each bucket that is complete, one for the update.
    alone = parallel.init().size == 1
    assert run.program._call.graphs == (1 if alone else len(engine.buckets) + 2)
    assert len(engine.buckets) > 1


def test_all_ranks_hold_the_same_parameters():
    _, parameters, _, _ = train("strict")
    flat = np.concatenate([p.ravel() for p in parameters]).view(np.uint32).astype(np.int64)
    communicator = parallel.init().communicator
    low, high = flat.copy(), flat.copy()
    communicator.allreduce(low, "min", "lowest")
    communicator.allreduce(high, "max", "highest")
    np.testing.assert_array_equal(low, high)
    assert strict.COUNTS.graph_launches > 0
