"""The device backend's products equal the NumPy backend's."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import flops
from hpcad.backend.numpy_backend import NumpyBackend
from hpcad.backend.select import get_backend

rng = np.random.default_rng(0)
HOST = NumpyBackend()


@pytest.fixture
def device():
    return get_backend("strict")


def draw(*shape, dtype="float32"):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize(
    ("alpha", "beta", "with_bias"),
    [(1.0, 0.0, False), (0.5, 0.0, True), (2.0, 1.0, True), (1.0, 0.5, False)],
)
def test_products_with_factors(device, dtype, alpha, beta, with_bias):
    a, b, c, bias = (draw(*s, dtype=dtype) for s in ((2, 5, 8), (8, 16), (2, 5, 16), (16,)))
    bias = bias if with_bias else None
    out = device.asarray(c)
    given = None if bias is None else device.asarray(bias)
    options = {"alpha": alpha, "beta": beta}
    found = device.gemm(device.asarray(a), device.asarray(b), out, bias=given, **options)
    assert found is out
    wanted = HOST.gemm(a, b, c, bias=bias, **options)
    np.testing.assert_allclose(device.to_host(found), wanted, rtol=1e-5, atol=1e-5)


def test_integers(device):
    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    found = device.gemm(device.asarray(a), device.asarray(b))
    assert (device.to_host(found) == a @ b).all()


def test_operations_are_counted(device):
    a, b = device.asarray(draw(3, 4, 5)), device.asarray(draw(5, 6))
    with flops.counted_flops() as count:
        device.gemm(a, b)
    assert count.total == 2 * 3 * 4 * 5 * 6


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_sums_of_columns(device, beta):
    for rows in (3, 7, 5):  # the ones of the longest serve the others
        g, out = draw(rows, 6), draw(6)
        target = device.asarray(out)
        device.column_sums(device.asarray(g), target, beta)
        wanted = beta * out + g.sum(0)
        np.testing.assert_allclose(device.to_host(target), wanted, rtol=1e-5, atol=1e-5)
