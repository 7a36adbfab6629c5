"""Reductions in C give the bits of NumPy's, in the order of the arrays."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.native import combine as module
from hpcad.backend.native.combine import combine, reference

DTYPES = ("float32", "float64", "int32", "int64")


def arrays(dtype: str, count: int, size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [(100 * rng.standard_normal(size)).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize("op", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_compiled_reduction_has_the_bits_of_numpys(dtype, op, count):
    if module._routine(op, dtype) is None:
        pytest.skip("no C compiler")
    size = 40_009
    sources, expected = arrays(dtype, count, size), arrays(dtype, count, size)
    if dtype[0] == "f":
        for array in (sources[-1], expected[-1]):
            array[[3, 20_000]] = np.nan, -np.inf
    combine(sources, sources, op, 17, size - 5)
    reference(expected, expected, op, 17, size - 5)
    for found, wanted in zip(sources, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert count == 1 or (sources[0][:17] != sources[1][:17]).any()  # outside of the slice


def test_order_is_from_left_to_right():
    big, small = np.float32(2**24), np.float32(1)
    for way in (combine, reference):
        sources = [np.full(8, x, np.float32) for x in (big, small, small, -big)]
        target = np.zeros(8, np.float32)
        way(sources, [target], "sum", 0, 8)
        assert (target == 0).all()  # each 1 is lost; from right to left it would be 2
        way(sources[::-1], [target], "sum", 0, 8)
        assert (target == 2).all()


def test_only_the_targets_are_written():
    sources = arrays("float64", 3, 100)
    kept = [array.copy() for array in sources]
    combine(sources, [sources[1]], "sum", 0, 100)
    np.testing.assert_array_equal(sources[0], kept[0])
    np.testing.assert_array_equal(sources[2], kept[2])
    np.testing.assert_array_equal(sources[1], kept[0] + kept[1] + kept[2])


def test_other_dtypes_are_numpys():
    sources = [np.full(10, x, "int16") for x in (1, 2, 4)]
    combine(sources, sources, "sum", 2, 9)
    assert sources[2].tolist() == [4, 4, *[7] * 7, 4]
