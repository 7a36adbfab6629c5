"""Every primitive on the strict device equals its NumPy value, VJP and JVP."""

from __future__ import annotations

import pytest

from hpcad.backend import strict as xp

from ...primitives.on_device import CASES, check_primitive

QUICK = 5  # one case in so many runs in the default run


CHOSEN = [
    pytest.param(*case.values, id=case.id, marks=(pytest.mark.slow,) if number % QUICK else ())
    for number, case in enumerate(CASES)
]


@pytest.mark.parametrize(("name", "args", "params"), CHOSEN)
def test_equals_numpy(name, args, params):
    check_primitive(name, args, params, xp)
