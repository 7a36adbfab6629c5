"""Copies between layouts in CUDA C++ are those of NumPy."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

from hpcad.backend.half import named
from hpcad.errors import DeviceError
from hpcad.program.cuda.routines import copies
from hpcad.program.cuda.routines.copies import copy

from .emulation import COMPILER
from .routine_cases import Case, check, emulator_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler to emulate with")


def case(array, target, accumulate=False):
    """A copy of one array, as it lies in memory, to where another of its shape lies."""
    return Case(
        copy(
            array.shape,
            str(array.dtype),
            tuple(s // array.itemsize for s in array.strides),
            str(target.dtype),
            tuple(s // target.itemsize for s in target.strides),
            accumulate,
        ),
        exact=True,
    )


def new(*shape, dtype="float32"):
    return np.zeros(shape, named(dtype))


CASES = {
    "whole": case(new(4, 6, 8), new(4, 6, 8)),
    "transposed": case(new(70, 45).T, new(45, 70)),
    "transposed bytes": case(new(33, 40, dtype="int8").T, new(40, 33, dtype="int8")),
    "heads": case(new(2, 20, 3, 24).transpose(0, 2, 3, 1), new(2, 3, 24, 20)),
    "narrow": case(new(5, 3, 7).transpose(2, 0, 1), new(7, 5, 3)),
    "window": case(new(6, 9, 16)[1:4, ::2, 4:12], new(3, 5, 8)),
    "flipped": case(new(6, 10)[::-1, ::-2], new(6, 5)),
    "into a part": case(new(5, 4, 8), new(5, 9, 8)[:, 3:7]),
    "into a flipped part": case(new(5, 4), new(5, 9)[::-1, 8:4:-1]),
    "repeated": case(np.broadcast_to(new(5, 1, 4), (5, 3, 4)), new(5, 3, 4)),
    "six axes": case(new(2, 2, 3, 2, 3, 2).transpose(5, 3, 1, 4, 2, 0), new(2, 2, 2, 3, 3, 2)),
    "converted": case(new(8, 12), new(8, 12, dtype="float64")),
    "converted and turned": case(new(40, 50, dtype="float64").T, new(50, 40)),
    "rounded": case(new(8, 12), new(8, 12, dtype="bfloat16")),
    "halves turned": case(new(40, 50, dtype="bfloat16").T, new(50, 40, dtype="float16")),
    "added": case(new(8, 12), new(8, 12), True),
    "added halves": case(
        new(5, 4, 8, dtype="bfloat16"), new(5, 9, 8, dtype="bfloat16")[:, 3:7], True
    ),
    "added and turned": case(new(70, 45).T, new(45, 70), True),
    "halves added to singles, turned": case(new(40, 50, dtype="bfloat16").T, new(50, 40), True),
    "of no axes": case(new(), new()),
    "empty": case(new(0, 3), new(0, 3)),
}
with mock.patch.object(copies, "MOST_TILES", 2):  # a block has one tile after the other
    CASES["many tiles"] = case(new(70, 46).T, new(46, 70))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return emulator_of(list(CASES.values()), tmp_path_factory.mktemp("copies"))


@pytest.mark.parametrize("name", CASES)
def test_copies_equal_numpy(library, name):
    check(CASES[name], library)


def test_neighbours_travel_together():
    def entries(name):
        return [entry.rpartition("_")[2] for entry in CASES[name].routine.entries]

    assert entries("whole") == ["v4", "v1"]
    assert entries("window") == ["v4", "v1"]
    assert entries("transposed") == entries("heads") == ["t"]


def test_the_reference_copies():
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    out = np.zeros(24, np.float32)
    made = case(x.transpose(2, 0, 1), new(4, 2, 3)).routine
    made.reference([x.ravel(), out], [])
    np.testing.assert_array_equal(out.reshape(4, 2, 3), x.transpose(2, 0, 1))


def test_what_has_no_routine_is_refused():
    with pytest.raises(DeviceError, match="cannot become int32"):
        case(new(3), new(3, dtype="int32"))
    with pytest.raises(DeviceError, match="holds elements twice"):
        case(new(3, 2), np.broadcast_to(new(3, 1), (3, 2)))
    with pytest.raises(DeviceError, match="sums of int32 have no routine"):
        case(new(3, dtype="int32"), new(3, dtype="int32"), True)
    seven = new(3, 3, 3, 3, 3, 3, 3)
    with pytest.raises(DeviceError, match="7 axes"):
        case(seven.transpose(6, 4, 2, 0, 5, 3, 1), seven.transpose(1, 3, 5, 0, 2, 4, 6))
