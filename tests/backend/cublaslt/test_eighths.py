"""Products of 8-bit operands with their factors."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.cublaslt import Eighths, bind_product
from hpcad.backend.cublaslt.enums import numpy_type
from hpcad.errors import ShapeError

from .arrays import host

ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes has the 8-bit types")
TYPES = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2}
rng = np.random.default_rng(0)


def draw(kind, *shape):
    return rng.standard_normal(shape).astype(np.float32).astype(TYPES[kind])


def put(xp, numbers):
    return xp.asarray(numbers.view(np.uint8))


@pytest.mark.parametrize("result", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize(("one", "other"), [("e4m3", "e4m3"), ("e4m3", "e5m2"), ("e5m2", "e4m3")])
def test_bytes_are_multiplied_with_their_factors(xp, one, other, result):
    a, b = draw(one, 16, 32), draw(other, 48, 32)
    scales = [xp.asarray(np.full(1, x, np.float32)) for x in (0.5, 4.0)]
    c = xp.empty((16, 48), numpy_type(result))
    call = bind_product(xp, put(xp, a), put(xp, b).T, c, eighths=Eighths(one, other, *scales))
    wanted = 2 * a.astype(np.float32) @ b.astype(np.float32).T
    for factor in (1.0, 3.0):  # the factors are read at each call
        scales[0][...] = 0.5 * factor
        call()
        found = host(xp, c).astype(np.float32)
        np.testing.assert_allclose(found, factor * wanted, rtol=1e-2, atol=0.3)


def test_without_factors_they_are_one(xp):
    a, b, c = draw("e4m3", 2, 16, 32), draw("e4m3", 2, 16, 32), xp.empty((2, 16, 16), np.float32)
    bind_product(xp, put(xp, a), put(xp, b).swapaxes(-1, -2), c, eighths=Eighths())()
    wanted = a.astype(np.float32) @ b.astype(np.float32).swapaxes(-1, -2)
    np.testing.assert_allclose(host(xp, c), wanted, rtol=1e-5, atol=1e-5)


def test_other_layouts_and_sides_are_left_to_the_caller(xp):
    rows, c = put(xp, draw("e4m3", 16, 16)), xp.empty((16, 16), np.float32)
    assert bind_product(xp, rows, rows, c, eighths=Eighths()) is None
    assert bind_product(xp, rows.T, rows.T, c, eighths=Eighths()) is None
    odd = put(xp, draw("e4m3", 16, 24))
    assert bind_product(xp, odd, odd.T, c, eighths=Eighths()) is None


def test_types_that_do_not_go_together_are_left_to_the_caller(xp):
    rows = put(xp, draw("e4m3", 16, 16))
    double = xp.empty((16, 16), np.float64)
    assert bind_product(xp, rows, rows.T, double, eighths=Eighths()) is None
    c, bias = xp.empty((16, 16), np.float32), xp.empty(16, np.float32)
    assert bind_product(xp, rows, rows.T, c, eighths=Eighths("e5m2", "e5m2")) is None
    assert bind_product(xp, rows, rows.T, c, bias=bias, eighths=Eighths()) is None


def test_wrong_words_and_factors_are_errors(xp):
    with pytest.raises(ShapeError, match="no 8-bit type is called 'e3m4'"):
        Eighths("e3m4")
    with pytest.raises(ShapeError, match="is one float32 on the device, not 2 of float32"):
        Eighths(scale_a=xp.zeros(2, np.float32))
    wide = xp.zeros((16, 16), np.float16)
    with pytest.raises(ShapeError, match="8-bit operands are arrays of uint8, not of float16"):
        bind_product(xp, wide, wide.T, wide, eighths=Eighths())
