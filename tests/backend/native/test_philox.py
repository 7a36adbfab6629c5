"""The compiled Philox generator draws what the NumPy one draws, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.native.philox import UniformRows
from hpcad.backend.random import COMPILED, rows_in_numpy, rows_of

KEY = (0x89ABCDEF, 0xFEDCBA98)
rng = np.random.default_rng(0)


@pytest.mark.parametrize("step", [0, 2**32 - 1, 2**40 + 7])
@pytest.mark.parametrize(
    "shape", [(64, 128), (3, 1), (5, 7), (2, 4), (3, 259), (9, 20_001), (0, 8)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_those_of_numpy(dtype, shape, step):
    spec = UniformRows(dtype, *shape, KEY)
    if not spec.supported:
        pytest.skip("there is no C compiler")
    ids, when = rng.integers(0, 2**45, shape[0]), np.array(step)
    guarded = np.full(shape[0] * shape[1] + 1, -1, dtype)
    spec.bind(ids.ctypes.data, when.ctypes.data, guarded.ctypes.data)()
    expected = rows_in_numpy(KEY, ids, shape[1], np.dtype(dtype), step)
    np.testing.assert_array_equal(guarded[:-1].reshape(shape), expected)
    assert guarded[-1] == -1


@pytest.mark.parametrize("width", [1, COMPILED])
def test_whichever_way_is_taken_they_are_the_same(width):
    ids = rng.integers(0, 100, 6)[::2]
    for dtype in (np.float16, np.float32, np.float64):
        found = rows_of(KEY, ids, width, dtype, 3)
        np.testing.assert_array_equal(found, rows_in_numpy(KEY, ids, width, dtype, 3))
        assert found.dtype == dtype
