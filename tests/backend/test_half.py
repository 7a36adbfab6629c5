"""Half precision in host memory: its dtypes, and products that are rounded once."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hpcad.backend import counted_flops
from hpcad.backend.half import (
    accumulator,
    bfloat16,
    is_bfloat16,
    is_half,
    is_inexact,
    is_real,
    limits,
    named,
)
from hpcad.backend.numpy_backend import NumpyBackend
from hpcad.errors import ConfigError

HALVES = ("bfloat16", "float16")


def test_without_ml_dtypes_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ConfigError, match=r"ml_dtypes.*hpcad\[half\].*float16"):
        named("bfloat16")
    assert named("float16") == np.float16


def test_dtypes_are_told_apart():
    pytest.importorskip("ml_dtypes")
    kinds = {
        name: (is_half(d), is_bfloat16(d), is_real(d), is_inexact(d))
        for name in ("bfloat16", "float16", "float32", "complex64", "int16", "V2")
        if (d := named(name)) is not None
    }
    assert kinds == {
        "bfloat16": (True, True, True, True),
        "float16": (True, False, True, True),
        "float32": (False, False, True, True),
        "complex64": (False, False, False, True),
        "int16": (False, False, False, False),
        "V2": (False, False, False, False),
    }
    assert accumulator(bfloat16()) == accumulator(np.dtype(np.float16)) == np.float32
    assert accumulator(np.dtype(np.float64)) == np.float64
    assert [float(limits(named(h)).eps) for h in HALVES] == [2.0**-7, 2.0**-10]


@pytest.fixture(params=HALVES)
def half(request):
    pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")
    return named(request.param)


def _operands(half, *shapes):
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape).astype(half) for shape in shapes]


def _single(*arrays):
    return [x.astype(np.float32) for x in arrays]


@pytest.mark.parametrize("batch", [(), (3,)])
def test_products_of_halves_are_rounded_once(half, batch):
    a, b, bias = _operands(half, (*batch, 70, 300), (*batch, 300, 40), (40,))
    wide, backend = _single(a, b, bias), NumpyBackend()
    expected = np.matmul(*wide[:2])
    found = backend.gemm(a, b)
    assert found.dtype == half
    np.testing.assert_array_equal(found, expected.astype(half))
    with_all = backend.gemm(a, b, alpha=0.5, bias=bias)
    np.testing.assert_array_equal(with_all, (expected * np.float32(0.5) + wide[2]).astype(half))
    out = np.empty_like(found)
    assert backend.gemm(a, b, out) is out
    np.testing.assert_array_equal(out, found)


def test_products_of_halves_can_be_accumulated(half):
    a, b, start = _operands(half, (120, 90), (90, 150), (120, 150))
    expected = np.matmul(*_single(a, b))
    out = start.copy()
    assert NumpyBackend().gemm(a, b, out, beta=1.0) is out
    np.testing.assert_array_equal(out, (start.astype(np.float32) + expected).astype(half))


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_products_of_halves_into_float32_are_not_rounded(half, beta):
    a, b, start = _operands(half, (200, 150), (150, 180), (200, 180))
    out = start.astype(np.float32)
    assert NumpyBackend().gemm(a.T.copy().T, b, out, beta=beta) is out
    expected = np.matmul(*_single(a, b)) + np.float32(beta) * start.astype(np.float32)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_products_with_wider_arrays_are_wide(half):
    a, b = _operands(half, (5, 6), (6, 7))
    found = NumpyBackend().gemm(a, b.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.matmul(*_single(a, b)))


def test_products_of_halves_count_as_many_operations(half):
    a, b = _operands(half, (5, 6), (6, 7))
    with counted_flops() as count:
        NumpyBackend().gemm(a, b, np.zeros((5, 7), half), beta=1.0)
    assert count.total == 2 * 5 * 6 * 7


def test_sums_of_columns_and_of_rows_are_rounded_once(half):
    backend, ones = NumpyBackend(), np.ones((5000, 3), half)
    out = np.zeros(3, half)
    backend.column_sums(ones, out, 0.0)
    np.testing.assert_array_equal(out, np.full(3, 5000, half))
    table = np.ones((2, 3), half)
    backend.scatter_add_rows(table, np.repeat([1, -1], 2500), ones)
    expected = np.array([[1] * 3, [5001] * 3], half)
    np.testing.assert_array_equal(table, expected)
