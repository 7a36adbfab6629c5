"""Batches in parts on several ranks: one reduction a step, and the gradients of whole batches."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn, optim, parallel
from hpcad.backend import get_backend
from hpcad.data.arrays import ArrayDataset
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options
from hpcad.training import Prepare, Trainer

pytestmark = pytest.mark.mpi
BATCH, STEPS = 14, 4  # ranks have 14, 7, 5 or 4 samples at most


class Net(nn.Module):
    def __init__(self):
        self.layers = [nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 4)]

    def loss(self, batch):
        x = nn.gelu(self.layers[0](batch["x"]))
        return nn.cross_entropy(self.layers[2](nn.gelu(self.layers[1](x))), batch["y"])


def train(accumulate, device, compile):
    """Parameters, and how many reductions of buckets were started."""
    world, backend, random = parallel.init(), get_backend(device), np.random.default_rng(0)
    x, y = random.standard_normal((3 * BATCH, 6)), random.integers(0, 4, 3 * BATCH)
    model = Net()
    model.initialize(1, np.float32, backend)
    engine = parallel.DataParallel(model, world, bucket_mb=1e-3, first_bucket_mb=1e-3)
    started = []
    start = engine._in_flight._start

    def count(bucket):
        started.append(bucket.name)
        return start(bucket)

    engine._in_flight._start = count
    Trainer(
        model, optim.SGD(model, 0.1), ArrayDataset({"x": x.astype(np.float32), "y": y}),
        batch=BATCH, steps=STEPS, world=world, engine=engine, compile=compile,
        prepare=Prepare(backend=backend), accumulate=accumulate,
    ).run()  # fmt: skip
    return [backend.to_host(p.array) for p in model.parameters()], started, len(engine.buckets)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("device", ["cpu", "strict"])
def test_gradients_are_reduced_once_a_step(device, compile):
    whole, _, _ = train(1, device, compile)
    parts, started, buckets = train(3, device, compile)
    assert buckets > 1
    assert len(started) == STEPS * buckets
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("compile", [False, True])
def test_a_program_of_one_part_is_called_for_each(compile):
    """The same program reduces, or does not, as it is called."""

    def trained(device):
        world, backend, random = parallel.init(), get_backend(device), np.random.default_rng(0)
        model = Net()
        model.initialize(1, np.float32, backend)
        engine = parallel.DataParallel(model, world, bucket_mb=1e-3, first_bucket_mb=1e-3)
        optimizer = optim.SGD(model, 0.1)

        def part(x, y):
            loss = model.loss({"x": x, "y": y}) / 3
            loss.backward()
            return loss.detach()

        run = Compiled(part, Options(ahead=True, strict=True)) if compile else part
        for _ in range(STEPS):
            x = backend.asarray(random.standard_normal((3, 5, 6)).astype(np.float32))
            y = backend.asarray(random.integers(0, 4, (3, 5)))
            with engine.no_sync():
                run(x[0], y[0])
                run(x[1], y[1])  # adds to gradients, as the last part does
            run(x[2], y[2])
            optimizer.step()
        return [backend.to_host(p.array) for p in model.parameters()]

    for a, b in zip(trained("strict"), trained("cpu"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
