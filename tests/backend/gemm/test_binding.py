"""Products at fixed addresses equal NumPy's, whatever their layout, batch, factors and way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hpcad.backend import counted_flops
from hpcad.backend.gemm import Gemm, bind, describe, libraries
from hpcad.backend.gemm.binding import bound
from hpcad.backend.gemm.routine import Way, routine
from hpcad.backend.gemm.ways import usual_way

rng = np.random.default_rng(1)
FLAGS = list(itertools.product((False, True), (False, True)))
TOLERANCE = {"float32": 2e-5, "complex64": 2e-5, "float64": 1e-13, "complex128": 1e-13}


@pytest.fixture(params=["compiled", "plain"])
def tools(request, monkeypatch):
    """With compiled code, and without."""
    if request.param == "plain":
        monkeypatch.setenv("HPCAD_NATIVE", "0")
    elif routine() is None:
        pytest.skip("no C compiler here")
    return request.param


def matrices(shape, dtype, trans):
    """Random matrices in rows of a larger array, or in its columns."""
    *batch, rows, columns = shape
    whole = rng.standard_normal((*batch, *((columns, rows + 3) if trans else (rows, columns + 3))))
    if np.dtype(dtype).kind == "c":
        whole = whole + 1j * whole[..., ::-1]
    whole = whole.astype(dtype)[..., 1:-2]
    return whole.swapaxes(-1, -2) if trans else whole


def run(a, b, c, alpha=1.0, beta=0.0, tune=False):
    bind(*describe(a, b, c, alpha, beta), tune=tune)()
    return c


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("c_trans", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (-0.5, 1.0), (2.0, -0.25)])
def test_a_product_is_numpys(tools, dtype, flags, c_trans, alpha, beta):
    a, b = matrices((33, 20), dtype, flags[0]), matrices((20, 17), dtype, flags[1])
    c = matrices((33, 17), dtype, c_trans)
    expected = alpha * (a @ b) + beta * c
    if beta == 0:
        c[...] = np.nan  # must not be read
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(run(a, b, c, alpha, beta), expected, tolerance, 10 * tolerance)


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("shape", [(128, 784, 512), (1, 50, 30), (40, 50, 1), (1, 9, 1), (7, 1, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_tuning_it_is_bitwise_numpys(tools, flags, shape, dtype):
    m, k, n = shape
    a, b = matrices((m, k), dtype, flags[0]), matrices((k, n), dtype, flags[1])
    expected = a @ b
    np.testing.assert_array_equal(run(a, b, np.empty_like(expected)), expected)


@pytest.mark.parametrize("tune", [False, True])
@pytest.mark.parametrize("batches", [((6,), (6,)), ((2, 3), (3,)), ((2, 3), ()), ((), (5,))])
def test_a_batch_broadcasts(tools, batches, tune, tmp_path, monkeypatch):
    monkeypatch.setenv("HPCAD_CACHE_DIR", str(tmp_path))
    a, b = (
        matrices((*batches[0], 30, 20), "float64", False),
        matrices((*batches[1], 20, 33), "d", True),
    )
    expected = a @ b
    out = np.empty((*expected.shape[:-2], 40, 50))[..., 3:33, 2:35]
    np.testing.assert_allclose(run(a, b, out, tune=tune), expected, 1e-12, 1e-12)


def test_heads_of_attention_need_no_copy(tools):
    q, k = rng.standard_normal((2, 3, 16, 4, 8)).transpose(1, 0, 3, 2, 4)[:2]
    out = np.empty((2, 4, 16, 16))
    np.testing.assert_allclose(run(q, k.swapaxes(-1, -2), out), q @ k.swapaxes(-1, -2), 1e-12)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3), (4, 3, 0), (1, 3, 0), (4, 1, 0)])
def test_empty_products(tools, shape):
    m, n, k = shape
    c = np.ones((m, n))
    run(np.ones((m, k)), np.ones((k, n)), c, beta=0.5)
    np.testing.assert_array_equal(c, 0.5)


@pytest.mark.parametrize("flip", ["", "a", "b"])
@pytest.mark.parametrize("parts", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_every_way_gives_the_same(flip, parts, dtype):
    if routine() is None:
        pytest.skip("no C compiler here")
    for library, flags in itertools.product(libraries(), FLAGS):
        if dtype not in library.gemm:
            continue
        a, b = matrices((2, 37, 50), dtype, flags[0]), matrices((50, 70), dtype, flags[1])
        a = a if flip != "a" else a[0]
        c = np.full((*a.shape[:-1], 70), np.nan, dtype)
        spec, *pointers = describe(a, b, c)
        bound(spec, Way(library, parts=parts, spread=parts != (1, 1), flip=flip), *pointers)()
        np.testing.assert_allclose(c, a @ b, 100 * TOLERANCE[dtype], 100 * TOLERANCE[dtype])


def test_without_any_library_numpy_multiplies():
    a, b = matrices((2, 5, 6), "float64", True), matrices((6, 7), "float64", False)[:, ::1]
    c = rng.standard_normal((2, 5, 7))
    expected = 2 * (a @ b) - c
    spec, *pointers = describe(a, b, c, 2.0, -1.0)
    bound(spec, None, *pointers)()
    np.testing.assert_allclose(c, expected, 1e-13)


def test_operations_are_counted_on_request():
    spec = Gemm("float32", 3, 4, 5, batch=(2,))
    with counted_flops() as counter:
        spec.count()
    assert counter.total == spec.flops == 2 * 2 * 3 * 4 * 5


def test_the_usual_way_leaves_numpys_threads_alone():
    way = usual_way(Gemm("float64", 300, 300, 300))
    assert way is None or (way.library.name == "numpy" and way.threads == 0)
