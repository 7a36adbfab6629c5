"""Routines are bound on the strict device, which checks their spans; NumPy computes them there."""

from __future__ import annotations

import pytest

from hpcad.backend import strict
from hpcad.program.cuda.launch import load

from .routine_cases import check_on_device
from .test_copies import CASES as COPIES
from .test_flash import CASES as ATTENTION
from .test_losses import CASES as LOSSES
from .test_rows import CASES as ROWS

CASES = {
    "take": ROWS["take outside"],
    "add": ROWS["add to"],
    "copy": COPIES["into a flipped part"],
    "loss": LOSSES["gradient elsewhere"],
    "attention": ATTENTION["packed, backward"],
}


@pytest.mark.parametrize("shift", [0, 1], ids=["aligned", "not aligned"])
@pytest.mark.parametrize("name", CASES)
def test_routines_are_bound(name, shift):
    (loaded,) = load([CASES[name].routine], strict)
    check_on_device(CASES[name], strict, loaded.bind, shift)
