"""The trainer on several ranks: ranks that disagree, empty parts."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim
from hpcad.errors import ConfigError

WORLD = hpcad.init()


def trainer(count=40, seed=0, **options):
    model = nn.Linear(3, 2)
    model.initialize(1)
    x = np.random.default_rng(0).standard_normal((count, 3)).astype(np.float32)
    settings = {"batch": 8, "steps": 3, "log_every": 1}
    return hpcad.Trainer(
        model,
        optim.SGD(model, 0.1),
        hpcad.ArrayDataset({"x": x}),
        loss=lambda m, b: (m(b["x"]) ** 2).mean(),
        seed=seed,
        **(settings | options),
    )


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize(
    "different",
    [{"steps": 4}, {"batch": 9}, {"count": 41}, {"seed": 1}, {"log_every": 2}],
)
def test_ranks_that_were_given_other_settings_are_told(different):
    run = trainer(**(different if WORLD.rank == WORLD.size - 1 else {}))
    with pytest.raises(ConfigError, match=f"differs between the ranks.*rank {WORLD.size - 1}"):
        run.run()


@pytest.mark.mpi
def test_the_last_batch_may_leave_ranks_without_samples():
    result = trainer(count=33, batch=8, steps=None, epochs=2).run()
    assert (result.step, result.cursor) == (10, 66)
