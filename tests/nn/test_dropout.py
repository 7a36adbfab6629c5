"""Dropout's mask: pinned, and drawn anew by a program from the ids and the step it is given."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn
from hpcad.errors import CaptureError
from hpcad.program.compiled import compile as compiled

rng = np.random.default_rng(0)


def dropped(x, ids, step, rate=0.3):
    with nn.training_step(1, step, ids):
        return nn.Dropout(rate, "d")(x)


def test_the_mask_of_a_seed_stays_what_it_is():
    """Training that is resumed with a later version goes on with the same masks."""
    with nn.training_step(1, 3, np.array([4, 9])):
        kept = nn.Dropout(0.4, "pin")(np.ones((2, 6), np.float32)) > 0
    np.testing.assert_array_equal(kept, [[1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("native", [True, False])
def test_a_program_drops_what_an_eager_call_drops(dtype, native):
    program = compiled(dropped, strict=True, native=native)
    for step in range(5):
        x, ids = rng.standard_normal((7, 3, 5)).astype(dtype), rng.integers(0, 10**12, 7)
        found, expected = program(x, ids, np.array(step)), dropped(x, ids, step)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == dtype
    assert program.program.steps


def test_a_step_that_is_no_array_is_found_out():
    """A program would drop the same elements for ever."""

    steps = iter(range(1, 9))

    def advance(x, ids):
        return dropped(x, ids, next(steps))

    program = compiled(advance, strict=True)
    x, ids = np.ones((2, 5), np.float32), np.arange(2)
    program(x, ids)
    with pytest.raises(CaptureError, match="a number was 1 in one call and 2 in the next"):
        program(x, ids)
