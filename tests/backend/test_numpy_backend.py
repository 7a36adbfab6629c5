"""The NumPy backend: GEMM with its options, scatter, windows, the FLOP count."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import counted_flops, get_backend
from hpcad.errors import ConfigError, DeviceError

backend = get_backend("cpu")
rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("alpha", [1.0, -0.5])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("transposed", [False, True])
def test_gemm(shape, alpha, beta, transposed):
    a = rng.standard_normal((*shape, 4, 5))
    b = (
        rng.standard_normal((*shape, 6, 5)).swapaxes(-1, -2)
        if transposed
        else (rng.standard_normal((*shape, 5, 6)))
    )
    bias = rng.standard_normal(6)
    out = rng.standard_normal((*shape, 4, 6))
    expected = alpha * np.einsum("...ij,...jk->...ik", a, b) + beta * out + bias
    result = backend.gemm(a, b, out, alpha=alpha, beta=beta, bias=bias)
    assert result is out
    np.testing.assert_allclose(out, expected, rtol=1e-12)


def test_gemm_counts_its_operations():
    with counted_flops() as outer:
        backend.gemm(np.ones((3, 2, 4)), np.ones((4, 5)))
        with counted_flops() as inner:
            backend.gemm(np.ones((2, 4)), np.ones((4, 5)))
    assert inner.total == 2 * 2 * 4 * 5
    assert outer.total == 4 * inner.total


@pytest.mark.parametrize("size", [0, 1, 50])
def test_scatter_add_rows_accumulates_repeats(size):
    index = rng.integers(0, 7, size)
    rows = rng.standard_normal((size, 3))
    out = rng.standard_normal((7, 3))
    expected = out.copy()
    np.add.at(expected, index, rows)
    backend.scatter_add_rows(out, index, rows)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-14)


def test_windows_are_a_view():
    x = rng.standard_normal((2, 5, 6, 3))
    patches = backend.windows(x, (3, 2), (2, 1))
    assert patches.shape == (2, 2, 5, 3, 2, 3)
    assert np.shares_memory(patches, x)
    np.testing.assert_array_equal(patches[1, 1, 4], x[1, 2:5, 4:6])


def test_allocate_is_aligned_and_zero():
    for nbytes in (1, 63, 4096):
        buffer = backend.allocate(nbytes)
        assert buffer.nbytes == nbytes
        assert buffer.ctypes.data % 64 == 0
        assert not buffer.any()


def test_unknown_device_names_the_choices():
    with pytest.raises(ConfigError, match="'cpu', 'gpu', 'auto' or 'strict'"):
        get_backend("tpu")


def test_gpu_without_a_gpu_says_what_to_do():
    try:
        import cupy

        if cupy.cuda.is_available():
            pytest.skip("this machine has a GPU")
    except ImportError:
        pass
    with pytest.raises(DeviceError, match="device = 'cpu'"):
        get_backend("gpu")
    assert get_backend("auto").name == "numpy"
