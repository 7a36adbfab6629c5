"""Backend.gemm with factors: no temporaries, the same numbers."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from hpcad.backend import get_backend
from hpcad.backend.gemm.eager import multiply
from hpcad.backend.gemm.search import numpy_library

backend = get_backend("cpu")
rng = np.random.default_rng(4)


@pytest.fixture(autouse=True)
def _blas():
    if numpy_library() is None:
        pytest.skip("NumPy's BLAS has no cblas entry points here")


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("alpha", [1.0, -2.0])
def test_adding_to_a_gradient_allocates_nothing(alpha, beta):
    x, g, out = rng.standard_normal((50, 300)), rng.standard_normal((50, 200)), np.ones((300, 200))
    expected = alpha * (x.T @ g) + beta * out
    backend.gemm(x.T, g, out.copy(), alpha=alpha, beta=beta)
    tracemalloc.start()
    backend.gemm(x.T, g, out, alpha=alpha, beta=beta)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000 < out.nbytes
    np.testing.assert_allclose(out, expected, 1e-12, 1e-12)


@pytest.mark.parametrize("native", ["", "0"])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "int64", "float16"])
@pytest.mark.parametrize("batch", [(), (5,)])
def test_every_dtype_and_batch_is_computed(monkeypatch, native, dtype, batch):
    monkeypatch.setenv("HPCAD_NATIVE", native or "1")
    a = rng.integers(-3, 4, (*batch, 150, 20)).astype(dtype)
    b = rng.integers(-3, 4, (20, 130)).astype(dtype)
    out = rng.integers(-3, 4, (*batch, 150, 130)).astype(dtype)
    expected = 3 * (a @ b) + 2 * out
    result = backend.gemm(a, b, out, alpha=3, beta=2)
    assert result is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(backend.gemm(a, b, alpha=3), 3 * (a @ b))


def test_a_result_that_is_an_operand_is_left_to_numpy():
    a = rng.standard_normal((200, 200))
    expected = 2 * (a @ a) + a
    assert not multiply(a, a, a, 2.0, 1.0)
    backend.gemm(a, a, a, alpha=2.0, beta=1.0)
    np.testing.assert_allclose(a, expected, 1e-12, 1e-12)


def test_read_only_and_strided_arrays_are_left_to_numpy():
    a, c = rng.standard_normal((200, 200)), np.zeros((200, 200))
    assert multiply(a, a, c, 1.0, 1.0)
    assert not multiply(a[:, ::-1], a, c, 1.0, 1.0)
    c.flags.writeable = False
    fresh = c.view()
    assert not multiply(a, a, fresh[:, :], 1.5, 1.0)
    np.testing.assert_array_equal(c, a @ a)


def test_a_result_in_columns_is_written_in_place():
    a, b, c = rng.standard_normal((200, 30)), rng.standard_normal((30, 150)), np.ones((150, 200)).T
    backend.gemm(a, b, c, beta=1.0)
    np.testing.assert_allclose(c, a @ b + 1, 1e-12)
