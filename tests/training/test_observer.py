"""Who watches a training sees every step, and changes none."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import optim
from hpcad.data import open_dataset
from hpcad.models import MLP, MLPConfig
from hpcad.training import Prepare, Trainer


class Watcher:
    """Notes what it is told."""

    def __init__(self):
        self.steps, self.phases, self.asked = [], [], 0

    def before_step(self, phases):
        self.asked += 1
        self._before = phases.seconds()

    def after_step(self, phases, batch, share):
        self.steps.append((batch.global_size, float(share)))
        self.phases.append({n: s - self._before.get(n, 0) for n, s in phases.seconds().items()})


def train(**options):
    model = MLP(MLPConfig([16]), 64, 10)
    model.initialize(1, np.float32)
    data = open_dataset("builtin:digits/train")
    trainer = Trainer(
        model,
        optim.SGD(model, 0.05),
        data,
        batch=400,
        prepare=Prepare(scale=0.0625),
        **options,
    )
    trainer.run()
    return [parameter.value.copy() for parameter in model.parameters()], data


def test_every_step_is_seen_and_none_is_changed():
    watcher = Watcher()
    watched, data = train(epochs=2, observer=watcher)
    plain, _ = train(epochs=2)
    for mine, theirs in zip(watched, plain, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    rest = len(data) - 3 * 400
    assert [size for size, _ in watcher.steps] == [400, 400, 400, rest] * 2
    losses = [loss for _, loss in watcher.steps]
    assert all(2.0 < loss < 3.0 for loss in losses[:2])
    assert losses[-2] < losses[0]
    assert all(step["forward"] > 0 and step["data wait"] > 0 for step in watcher.phases)


def test_repeated_batches_lie_in_memory():
    watcher = Watcher()
    train(steps=7, repeated=2, observer=watcher)
    losses = [loss for _, loss in watcher.steps]
    assert [size for size, _ in watcher.steps] == [400] * 7
    # Each batch comes again and is known better then; no other batch is seen.
    assert losses[0] > losses[2] > losses[4] > losses[6]
    assert losses[1] > losses[3] > losses[5]


def test_only_full_batches_are_repeated():
    watcher = Watcher()
    _, data = train(steps=9, repeated=100, observer=watcher)
    assert {size for size, _ in watcher.steps} == {400}
    assert len(data) // 400 == 3
    losses = [loss for _, loss in watcher.steps]
    assert losses[0] > losses[3] > losses[6]


@pytest.mark.parametrize("repeated", [1, 2])
def test_a_run_on_repeated_batches_ends(repeated):
    watcher = Watcher()
    train(steps=3, repeated=repeated, observer=watcher)
    assert watcher.asked == len(watcher.steps) == 3
