"""Engines whose gradients travel in half precision."""

from __future__ import annotations

import dataclasses
import json
import zlib

import numpy as np
import pytest

from hpcad import nn, optim, parallel
from hpcad.backend.native.half import FORMATS
from hpcad.errors import CollectiveError, ConfigError
from hpcad.models import MLP, MLPConfig
from hpcad.parallel.gradients.half_reducer import in_precision
from hpcad.parallel.gradients.progress import Progress
from hpcad.program.compiled import compile as compiled

from .groups import make_group

pytestmark = pytest.mark.mpi

WORLD = parallel.init()
KINDS = ["mpi"] + (["nodes of 2"] if WORLD.size > 2 else [])

_made = {}


@pytest.fixture(params=FORMATS.values(), ids=FORMATS)
def half(request):
    return request.param


def everywhere(value):
    """What the ranks have, in order."""
    return [json.loads(x) for x in WORLD.communicator.gather_json(json.dumps(value))]


def same_everywhere(array):
    """Whether all ranks have these bits."""
    return len(set(everywhere(zlib.crc32(array.tobytes())))) == 1


def on(kind):
    """The world, with a communicator of this kind."""
    if WORLD.size == 1:
        return WORLD
    if kind not in _made:
        _made[kind] = make_group(kind)
    return dataclasses.replace(WORLD, communicator=_made[kind])


class Training:
    """A model and its engine; small buckets, so that several are under way."""

    def __init__(self, world, **options):
        self.model = MLP(MLPConfig([60, 50]), 30, 10)
        self.model.initialize(3)
        self.engine = parallel.DataParallel(self.model, world, bucket_mb=4e-3, **options)
        self.optimizer = optim.SGD(self.model, 0.1, momentum=0.9)

    def step(self, x, y):
        loss = nn.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def gradients(self):
        return np.concatenate([p.grad.ravel() for p in self.model.parameters()])

    def values(self):
        return np.concatenate([p.numpy().ravel() for p in self.model.parameters()])


def batch(step):
    rng = np.random.default_rng([WORLD.rank, step])
    return rng.standard_normal((7, 30), np.float32), rng.integers(10, size=7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["poll", "thread"])
def test_engines_average_gradients_to_the_format_s_error(kind, half, way):
    if WORLD.size == 1 or WORLD.thread_level != "multiple":
        way = "poll"
    trainings = [
        Training(on(kind), reduction=r, progress=way) for r in ("exact", half.name, half.name)
    ]
    for training in trainings:
        nn.cross_entropy(training.model(batch(0)[0]), batch(0)[1]).backward()
    wanted, found, again = (training.gradients() for training in trainings)
    np.testing.assert_array_equal(found, again)
    assert same_everywhere(found)
    error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    engine = trainings[1].engine
    if WORLD.size == 1:
        assert error == 0
        assert engine.half is None
        return
    assert 0.1 * half.roundoff < error < 2 * half.roundoff
    assert half.name in engine.describe()
    assert len(set(everywhere(engine.describe()))) == 1
    assert engine.half.bytes_sent < 0.55 * engine.half.bytes_exact or not engine.half.bytes_exact


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_steps_train_as_eager_ones(kind, half):
    trainings = [Training(on(kind), reduction=half.name, progress="poll") for _ in "ab"]
    steps = [compiled(trainings[0].step, strict=True), trainings[1].step]
    for i in range(6):
        for step in steps:
            step(*batch(i))
    assert steps[0].program.steps
    found, wanted = (training.values() for training in trainings)
    np.testing.assert_allclose(found, wanted, rtol=3 * half.roundoff, atol=1e-4)
    assert same_everywhere(found)


def test_ranks_of_one_node_stay_exact():
    group = make_group("node")
    progress = Progress("poll", group, "polled")
    chosen, half, says = in_precision(progress, group, "bfloat16")
    assert chosen is progress
    assert half is None
    assert says.startswith("summed exactly")
    assert WORLD.size == 1 or "shared memory" in says


def test_an_unknown_precision_is_an_error():
    with pytest.raises(ConfigError, match="exact, bfloat16, float16, not 'half'"):
        Training(WORLD, reduction="half")


@pytest.mark.mpi(min_size=2)
def test_engines_of_different_precision_are_told():
    group = make_group("mpi")
    progress = Progress("poll", group, "polled")
    with pytest.raises(CollectiveError, match="sums of gradients in float16"):
        in_precision(progress, group, "bfloat16" if WORLD.rank else "float16")
    WORLD.communicator.barrier()
