"""Rows by index and sums of rows by index, in CUDA C++, are those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.errors import DeviceError
from hpcad.program.cuda.routines.add_rows import add_rows
from hpcad.program.cuda.routines.take_rows import take_rows

from .emulation import COMPILER, GUARD
from .routine_cases import Case, check, emulator_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler to emulate with")


def indices(rows, outside=False, skewed=False):
    """Draws numbers; operand 1 are indices, some of them negative."""

    def draw(rng, number, dtype, count):
        if number == 3:
            return np.zeros(count)
        if number != 1:
            return rng.standard_normal(count) * 100
        index = rng.integers(-rows, rows, count)
        if skewed:
            index[rng.random(count) < 0.5] = rows // 2
        if outside:
            index[GUARD + 4 :: 7], index[GUARD + 5 :: 9] = rows, -rows - 1
        return index

    return draw


CASES = {
    "take": Case(take_rows("float32", "int64", 11, 37, 12), indices(11), exact=True),
    "take odd": Case(take_rows("float64", "int32", 5, 9, 7), indices(5), exact=True),
    "take bytes": Case(take_rows("int8", "int32", 5, 9, 6), indices(5), exact=True),
    "take halves": Case(take_rows("bfloat16", "int64", 9, 20, 12), indices(9), exact=True),
    "take outside": Case(
        take_rows("float32", "int64", 6, 30, 4, faults=True), indices(6, outside=True), exact=True
    ),
    "add": Case(add_rows("float32", "int64", 300, 2100, 8), indices(300), exact=True),
    "add to": Case(
        add_rows("float64", "int32", 41, 100, 5, accumulate=True), indices(41), exact=True
    ),
    "add halves": Case(
        add_rows("bfloat16", "int64", 21, 200, 16, accumulate=True), indices(21), exact=True
    ),
    "add long halves": Case(add_rows("float16", "int32", 2, 200, 3), indices(2, skewed=True)),
    "add outside": Case(
        add_rows("float32", "int64", 6, 30, 4, faults=True), indices(6, outside=True), exact=True
    ),
    "add long": Case(add_rows("float32", "int64", 7, 2100, 3), indices(7, skewed=True)),
    "add long to": Case(
        add_rows("float64", "int64", 3, 200, 34, accumulate=True), indices(3, skewed=True)
    ),
    "add nothing": Case(add_rows("float32", "int64", 3, 0, 4), indices(3), exact=True),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return emulator_of(list(CASES.values()), tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("name", CASES)
def test_rows_equal_numpy(library, name):
    check(CASES[name], library)


def test_the_first_index_that_means_no_row_is_reported(library):
    case = CASES["take outside"]
    arrays = case.arrays()
    case.emulate(library, 0, arrays, 1)
    table, index, out, fault = (flat[GUARD:-GUARD] for flat in arrays)
    assert index.size - fault[0] == 4
    assert np.isnan(out.reshape(30, 4)[4]).all()
    np.testing.assert_array_equal(out.reshape(30, 4)[3], table.reshape(6, 4)[index[3]])


def test_what_has_no_routine_is_refused():
    with pytest.raises(DeviceError, match="int16"):
        take_rows("float32", "int16", 3, 3, 3)
    with pytest.raises(DeviceError, match="complex64"):
        add_rows("complex64", "int32", 3, 3, 3)
