"""Eager convolutions by compiled routines: when, and that they equal NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import counted_flops
from hpcad.backend.native.compiler import find_compiler
from hpcad.backend.native.convolution import arrays, library
from hpcad.errors import DeviceError
from hpcad.primitives import convolution

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
PLACE = {"stride": (1, 1), "padding": (1, 1)}


def operands(dtype=np.float32, images=8, c=16, k=32):
    rng = np.random.default_rng(0)
    shapes = (images, 14, 14, c), (3, 3, c, k), (k,), (images, 14, 14, k)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_equal_those_by_gemm_and_are_compiled(dtype):
    x, w, b, g = operands(dtype)
    near = {"rtol": 0, "atol": 600 * np.finfo(dtype).eps}  # the largest results are about 60
    y = arrays.forward(x, w, b, **PLACE)
    np.testing.assert_allclose(y, convolution._conv_gemm(x, w, b, **PLACE), **near)
    np.testing.assert_array_equal(convolution._conv(x, w, b, **PLACE), y)
    dx = arrays.adjoint(g, w, (14, 14), **PLACE)
    np.testing.assert_allclose(dx, convolution._conv_input_gemm(g, w, (14, 14), **PLACE), **near)
    np.testing.assert_array_equal(convolution._conv_input(g, w, size=(14, 14), **PLACE), dx)
    dw, expected = np.ones_like(w), np.ones_like(w)
    assert arrays.add_weight(dw, 1.0, g, x, **PLACE)
    convolution._add_conv_weight_gemm(expected, 1.0, g, x, **PLACE)
    np.testing.assert_allclose(dw, expected, rtol=0, atol=2000 * np.finfo(dtype).eps)  # 200


@needs_compiler
def test_strided_operands_are_copied():
    x, w, _, _ = operands()
    wide = np.repeat(x, 2, axis=3)[..., ::2]
    np.testing.assert_array_equal(
        arrays.forward(wide, w, None, **PLACE), arrays.forward(x, w, None, **PLACE)
    )


@needs_compiler
def test_operations_are_counted_as_those_of_the_products():
    x, w, _, _ = operands()
    with counted_flops() as compiled:
        assert arrays.forward(x, w, None, **PLACE) is not None
    with counted_flops() as products:
        convolution._conv_gemm(x, w, None, **PLACE)
    assert compiled.total == products.total > 0


def test_little_work_other_dtypes_and_few_channels_are_left_to_numpy():
    x, w, b, g = operands()
    assert arrays.forward(x[:1], w[..., :4], b[:4], **PLACE) is None
    assert arrays.forward(x, w.astype(np.float64), b, **PLACE) is None
    assert arrays.forward(x.astype(complex), w.astype(complex), None, **PLACE) is None
    x, w, _, g = operands(images=64, c=32, k=1)
    assert arrays.forward(x, w, None, **PLACE) is None
    assert not arrays.add_weight(np.zeros_like(w), 0.0, g, x, **PLACE)
    assert not arrays.add_weight(np.zeros_like(w), 0.5, g, x, **PLACE)


def test_without_a_compiler_the_products_are_used(monkeypatch):
    monkeypatch.setattr(library, "load", lambda *_: None)
    library._library.cache_clear()
    try:
        x, w, b, g = operands()
        assert arrays.forward(x, w, b, **PLACE) is None
        assert arrays.adjoint(g, w, (14, 14), **PLACE) is None
        assert not arrays.add_weight(np.zeros_like(w), 0.0, g, x, **PLACE)
        np.testing.assert_array_equal(
            convolution._conv(x, w, b, **PLACE), convolution._conv_gemm(x, w, b, **PLACE)
        )
        with pytest.raises(DeviceError, match="C compiler"):
            library.compiled("float32")
    finally:
        library._library.cache_clear()
