"""Eager products equal NumPy's whatever the arrays look like."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.cublaslt import multiply
from hpcad.backend.cublaslt.enums import numpy_type
from hpcad.errors import ShapeError

from .arrays import HALF, host, put

rng = np.random.default_rng(0)


def draw(*shape, dtype="float32"):
    return rng.standard_normal(shape).astype(numpy_type(dtype))


def near(xp, found, wanted, tolerance=1e-5):
    values = host(xp, found).astype(np.float64)
    np.testing.assert_allclose(values, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32", *HALF])
def test_the_result_has_the_type_of_the_operands(xp, dtype):
    a, b = draw(5, 8, dtype=dtype), draw(8, 16, dtype=dtype)
    found = multiply(xp, xp.asarray(a), xp.asarray(b))
    assert found.dtype == numpy_type(dtype)
    near(xp, found, a.astype(np.float64) @ b.astype(np.float64), 3e-2 if dtype in HALF else 1e-5)


def test_types_are_promoted(xp):
    a, b = draw(5, 8), draw(8, 16, dtype="float64")
    found = multiply(xp, xp.asarray(a), xp.asarray(b))
    assert found.dtype == np.float64
    near(xp, found, a.astype(np.float64) @ b, 1e-12)


@pytest.mark.parametrize("half", HALF)
def test_gradients_of_half_operands_are_added_in_float32(xp, half):
    x, g, dw = draw(64, 8, dtype=half), draw(64, 16, dtype=half), draw(8, 16)
    out = xp.asarray(dw)
    assert multiply(xp, xp.asarray(x).T, xp.asarray(g), out, beta=1.0) is out
    near(xp, out, dw + x.astype(np.float32).T @ g.astype(np.float32), 2e-5)


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.complex64])
def test_other_types_are_left_to_the_caller(xp, dtype):
    whole = xp.zeros((2, 2), dtype)
    assert multiply(xp, whole, whole) is None


@pytest.mark.parametrize("view", [np.s_[::2, ::2], np.s_[::-1, :], np.s_[:, ::3]])
def test_operands_that_need_a_copy_are_copied(xp, view):
    a = draw(8, 12)
    b = draw(a[view].shape[1], 4)
    near(xp, multiply(xp, xp.asarray(a)[view], xp.asarray(b)), a[view] @ b)


@pytest.mark.parametrize("beta", [0.0, 1.0, 0.5])
def test_results_that_need_a_copy_are_written(xp, beta):
    a, b, memory, bias = draw(4, 5), draw(5, 6), draw(8, 12), draw(6)
    target = xp.asarray(memory)
    multiply(xp, xp.asarray(a), xp.asarray(b), target[::2, ::2], beta=beta, bias=xp.asarray(bias))
    wanted = memory.copy()
    wanted[::2, ::2] = beta * wanted[::2, ::2] + a @ b + bias
    near(xp, target, wanted)


def test_a_result_in_the_place_of_an_operand_is_right(xp):
    a, b = draw(8, 8), draw(8, 8)
    both = xp.asarray(a)
    multiply(xp, both, xp.asarray(b), both, beta=1.0)
    near(xp, both, a @ b + a)
    both = xp.asarray(a)
    multiply(xp, xp.asarray(b), both.T, both)
    near(xp, both, b @ a.T)


def test_batches_that_need_too_many_calls_are_copied(xp):
    a, b = draw(70, 1, 2, 3), draw(1, 80, 3, 2)
    near(xp, multiply(xp, xp.asarray(a), xp.asarray(b)), a @ b)


def test_factors_and_bias(xp):
    a, b, c, bias = draw(3, 5, 8), draw(8, 16), draw(3, 5, 16), draw(16)
    out = xp.asarray(c)
    multiply(xp, xp.asarray(a), xp.asarray(b), out, alpha=0.5, beta=2.0, bias=xp.asarray(bias))
    near(xp, out, 0.5 * a @ b + 2 * c + bias)
    found = multiply(xp, xp.asarray(a), xp.asarray(b), bias=xp.asarray(bias.astype(np.float64)))
    near(xp, found, a @ b + bias)


def test_a_bias_beside_columns_is_added_afterwards(xp):
    a, b, bias = draw(5, 8), draw(8, 16), draw(16)
    out = put(xp, np.zeros((5, 16), np.float32), transposed=True)
    multiply(xp, xp.asarray(a), xp.asarray(b), out, bias=xp.asarray(bias))
    near(xp, out, a @ b + bias)


@pytest.mark.parametrize(("a", "b"), [((0, 4), (4, 3)), ((2, 0), (0, 3)), ((0, 2, 4), (4, 3))])
def test_empty_operands(xp, a, b):
    wanted = np.zeros(a, np.float32) @ np.zeros(b, np.float32)
    found = multiply(xp, xp.empty(a, np.float32), xp.empty(b, np.float32))
    assert found.shape == wanted.shape
    near(xp, found, wanted)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_same_shapes_at_other_addresses(xp, which):
    a, b = draw(8, 8), draw(8, 8)
    for start in (0, 1, 2, 0):
        starts = [start if i == which else 0 for i in range(3)]
        operands = zip((a, b, np.zeros_like(a)), starts, strict=True)
        near(xp, multiply(xp, *(put(xp, x, gap=4 - s, start=s) for x, s in operands)), a @ b)


def test_shapes_that_do_not_fit_are_an_error(xp):
    a, b = xp.zeros((2, 3), np.float32), xp.zeros((4, 5), np.float32)
    with pytest.raises(ShapeError, match="the inner sizes differ"):
        multiply(xp, a, b, xp.zeros((2, 5), np.float32))
    with pytest.raises(ShapeError, match="the inner sizes differ"):
        multiply(xp, a, b)
