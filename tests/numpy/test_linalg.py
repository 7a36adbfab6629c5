"""Linear algebra: values against NumPy's and SciPy's, call forms, kinks, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg

import hpcad.numpy as hnp
from hpcad.autodiff import Tensor, check_grads, grad, jvp, value_of
from hpcad.errors import ShapeError

rng = np.random.default_rng(29)


def real(*shape):
    return rng.standard_normal(shape)


def plane(*shape):
    return real(*shape) + 1j * real(*shape)


BOTH = pytest.mark.parametrize("make", [real, plane])


def definite(make, *shape):
    x = make(*shape)
    return x @ x.conj().swapaxes(-2, -1) + np.eye(shape[-1])


def close(found, expected):
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(value_of(found), expected, rtol=1e-9, atol=1e-11)


# -- products -----------------------------------------------------------------------------

PRODUCTS = {
    "matmul": [((2, 3), (3, 4)), ((3,), (3, 4)), ((5, 2, 3), (3,)), ((3,), (3,)),
               ((5, 1, 2, 3), (4, 3, 2)), ((2, 0), (0, 3))],
    "dot": [((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (4, 3, 5)), ((), (2, 3))],
    "inner": [((2, 3), (4, 3)), ((3,), (3,)), ((2,), ())],
    "outer": [((2, 3), (4,)), ((), (3,))],
    "vdot": [((2, 3), (2, 3)), ((3,), (3,))],
    "kron": [((2, 3), (4, 5)), ((3,), (2, 2)), ((2, 1, 3), (2, 2))],
    "cross": [((3,), (3,)), ((2, 3), (4, 1, 3))],
    "vecdot": [((3,), (3,)), ((2, 3), (4, 1, 3))],
    "matvec": [((2, 3), (3,)), ((5, 2, 3), (5, 3))],
    "vecmat": [((2,), (2, 3)), ((5, 2), (5, 2, 3))],
}  # fmt: skip


@BOTH
@pytest.mark.parametrize(("name", "shapes"), [(n, s) for n, all in PRODUCTS.items() for s in all])
def test_products_equal_those_of_numpy(name, shapes, make):
    a, b = (make(*shape) for shape in shapes)
    if name in ("matvec", "vecmat") and not hasattr(np, name):
        pytest.skip("this NumPy does not have it")
    close(getattr(hnp, name)(a, b), getattr(np, name)(a, b))
    check_grads(getattr(hnp, name), (a, b), order=1)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, bool])
def test_products_of_integers_keep_their_dtype(dtype):
    a, b = (rng.integers(0, 2 if dtype is bool else 100, (3, 3)).astype(dtype) for _ in range(2))
    for name in ("matmul", "dot", "inner", "kron", "outer"):
        found, expected = getattr(hnp, name)(a, b), getattr(np, name)(a, b)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_traces_and_diagonals_of_both_namespaces():
    x = real(2, 3, 4)
    close(hnp.trace(x), np.trace(x))
    close(hnp.trace(x, 1, -1, 0), np.trace(x, 1, -1, 0))
    close(hnp.diagonal(x, -1), np.diagonal(x, -1))
    close(hnp.linalg.trace(x, offset=1), np.linalg.trace(x, offset=1))
    close(hnp.linalg.diagonal(x, offset=5), np.linalg.diagonal(x, offset=5))
    assert hnp.linalg.trace(np.ones((2, 2), np.int8)).dtype == np.int64


@pytest.mark.parametrize(
    "shapes", [((2, 9), (9, 3), (3, 8)), ((5,), (5, 2), (2, 7), (7,)), ((2, 3), (3,))]
)
def test_multi_dot_equals_that_of_numpy(shapes):
    arrays = [real(*shape) for shape in shapes]
    close(hnp.linalg.multi_dot(arrays), np.linalg.multi_dot(arrays))
    check_grads(lambda *a: hnp.linalg.multi_dot(a), arrays, order=1)


@BOTH
@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 5])
def test_matrix_powers(n, make):
    x = make(2, 3, 3)
    close(hnp.linalg.matrix_power(x, n), np.linalg.matrix_power(x, n))
    if n:
        check_grads(lambda a: hnp.linalg.matrix_power(a, n), (x,), order=1)


# -- decompositions and systems -----------------------------------------------------------


@BOTH
def test_decompositions_give_their_matrix_back(make):
    x, tall, wide = make(2, 3, 3), make(2, 4, 3), make(2, 3, 4)
    la = hnp.linalg
    for full in (False, True):
        for a in (x, tall, wide):
            u, s, vh = la.svd(a, full_matrices=full)
            k = s.shape[-1]
            close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a)
    for mode in ("reduced", "complete"):
        for a in (x, tall, wide):
            q, r = la.qr(a, mode=mode)
            close(q @ r, a)
            close(r, np.triu(r))
    p, low, up = la.lu(x)
    close(p @ low @ up, x)
    w, v = la.eig(x)
    assert w.dtype == v.dtype == np.complex128
    close(v * w[..., None, :] @ np.linalg.inv(v), x.astype(complex))
    h = definite(make, 2, 3, 3)
    w, v = la.eigh(h)
    close(v * w[..., None, :] @ v.conj().swapaxes(-2, -1), h)
    low = la.cholesky(h)
    close(low @ low.conj().swapaxes(-2, -1), h)
    close(la.cholesky(h, upper=True), low.conj().swapaxes(-2, -1))


@BOTH
def test_values_equal_those_of_numpy_and_scipy(make):
    x, tall, b = make(2, 3, 3), make(4, 3), make(3, 2)
    la = hnp.linalg
    close(la.inv(x), np.linalg.inv(x))
    close(la.pinv(tall), np.linalg.pinv(tall))
    close(la.det(x), np.linalg.det(x))
    for found, expected in zip(la.slogdet(x), np.linalg.slogdet(x), strict=True):
        close(found, expected)
    close(la.solve(x, b), np.linalg.solve(x, b))
    close(la.solve(x, b[:, 0]), np.linalg.solve(x, b[:, 0]))
    close(la.svdvals(x), np.linalg.svdvals(x))
    close(la.eigvalsh(x), np.linalg.eigvalsh((x + x.conj().swapaxes(-2, -1)) / 2))
    close(la.expm(x), scipy.linalg.expm(x))
    for options in ({}, {"lower": True}, {"trans": 1}, {"trans": "C"}, {"unit_diagonal": True}):
        expected = scipy.linalg.solve_triangular(x[0], b, **options)
        close(la.solve_triangular(x[0], b, **options), expected)
        close(la.solve_triangular(x[0], b[:, 0], **options), expected[:, 0])
    for p in (None, 1, -1, 2, -2, math.inf, -math.inf, "fro", "nuc"):
        close(la.cond(x, p), np.linalg.cond(x, p))
    close(la.matrix_rank(tall @ tall.swapaxes(0, 1)), 3)


@BOTH
@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (3, 5)])
@pytest.mark.parametrize("right", [(), (2,)])
def test_least_squares(shape, right, make):
    a, b = make(*shape), make(shape[0], *right)
    found, expected = hnp.linalg.lstsq(a, b), np.linalg.lstsq(a, b)
    for mine, theirs in zip(found, expected, strict=True):
        close(mine, theirs)
    check_grads(lambda *args: hnp.linalg.lstsq(*args)[0], (a, b), order=2)


def test_the_triangle_that_is_asked_for_is_read():
    x = real(3, 3)
    for triangle in ("L", "U"):
        close(hnp.linalg.eigvalsh(x, triangle), np.linalg.eigvalsh(x, triangle))
        check_grads(lambda a, t=triangle: hnp.linalg.eigh(a, t)[0], (x,), order=2)


@BOTH
@pytest.mark.parametrize("mode", ["reduced", "complete", "r"])
def test_derivatives_of_the_qr_factorization_of_a_wide_matrix(mode, make):
    check_grads(lambda a: hnp.linalg.qr(a, mode=mode), (make(2, 2, 4),), order=2)


@BOTH
def test_values_alone_differentiate_like_the_decomposition(make):
    h, x = definite(make, 3, 3), make(2, 4, 3)
    check_grads(hnp.linalg.eigvalsh, (h,), order=2)
    check_grads(hnp.linalg.svdvals, (x,), order=2)
    check_grads(hnp.linalg.eigvals, (make(3, 3),), order=2)


def test_tensor_systems():
    a, b = real(2, 3, 6), real(2, 3)
    close(hnp.linalg.tensorsolve(a, b), np.linalg.tensorsolve(a, b))
    moved = real(6, 2, 3)
    close(hnp.linalg.tensorsolve(moved, b, axes=(0,)), np.linalg.tensorsolve(moved, b, axes=(0,)))
    close(hnp.linalg.tensorinv(a, 2), np.linalg.tensorinv(a, 2))


# -- norms --------------------------------------------------------------------------------

VECTOR_ORDERS = [None, 0, 1, 2, 3, 2.5, 0.5, -1, -2, math.inf, -math.inf]
MATRIX_ORDERS = [None, "fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf]


@BOTH
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order", VECTOR_ORDERS)
def test_vector_norms_equal_those_of_numpy(order, keepdims, make):
    x = make(2, 3, 4)
    close(
        hnp.linalg.norm(x, order, axis=1, keepdims=keepdims),
        np.linalg.norm(x, order, axis=1, keepdims=keepdims),
    )
    if order is not None:
        axes = {"axis": (0, 2), "keepdims": keepdims, "ord": order}
        close(hnp.linalg.vector_norm(x, **axes), np.linalg.vector_norm(x, **axes))
    if order != 0:
        check_grads(lambda a: hnp.linalg.norm(a, order, axis=1), (x,), order=2)


@BOTH
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order", MATRIX_ORDERS)
def test_matrix_norms_equal_those_of_numpy(order, keepdims, make):
    x = make(2, 3, 4)
    options = {"axis": (2, 0), "keepdims": keepdims}
    close(hnp.linalg.norm(x, order, **options), np.linalg.norm(x, order, **options))
    if order is not None:
        options = {"ord": order, "keepdims": keepdims}
        close(hnp.linalg.matrix_norm(x, **options), np.linalg.matrix_norm(x, **options))
    check_grads(lambda a: hnp.linalg.norm(a, order, axis=(1, 2)), (x,), order=2)


def test_the_norm_of_a_whole_array():
    x = real(2, 3, 4)
    close(hnp.linalg.norm(x), np.linalg.norm(x))
    close(hnp.linalg.norm(x, keepdims=True), np.linalg.norm(x, keepdims=True))
    close(hnp.linalg.norm(x[0], "nuc"), np.linalg.norm(x[0], "nuc"))


@BOTH
@pytest.mark.parametrize("order", [1, 2, 3, 1.5, 0.5, -1, math.inf, -math.inf])
def test_vector_norms_have_derivative_0_at_0(order, make):
    zero = 0 * make(3)
    found = grad(lambda x: hnp.linalg.norm(x, order))(zero)
    np.testing.assert_array_equal(found, zero)
    assert jvp(lambda x: hnp.linalg.norm(x, order), (zero,), (make(3),))[1] == 0


@pytest.mark.parametrize("order", ["fro", "nuc", 1, 2, -2, math.inf])
def test_matrix_norms_have_derivative_0_at_0(order):
    found = grad(lambda x: hnp.linalg.norm(x, order))(np.zeros((3, 2)))
    np.testing.assert_array_equal(found, np.zeros((3, 2)))


@pytest.mark.parametrize("order", [1.5, 3, 0.5])
def test_an_element_of_0_adds_nothing_to_the_derivative_of_a_norm(order):
    with_zero, without = np.array([3.0, 0.0, -4.0]), np.array([3.0, -4.0])
    found = grad(lambda x: hnp.linalg.norm(x, order))(with_zero)
    expected = grad(lambda x: hnp.linalg.norm(x, order))(without)
    np.testing.assert_allclose(found, [expected[0], 0, expected[1]])


def test_the_maximum_norm_splits_ties_evenly():
    found = grad(lambda x: hnp.linalg.norm(x, math.inf))(np.array([3.0, -3.0, 1.0]))
    np.testing.assert_array_equal(found, [0.5, -0.5, 0])


def test_norms_of_high_order_do_not_overflow():
    x = np.array([1e300, 2e300])
    np.testing.assert_allclose(hnp.linalg.norm(x, 10), 2e300 * (1 + 2.0**-10) ** 0.1)
    assert np.all(np.isfinite(grad(lambda a: hnp.linalg.norm(a, 10))(x)))


# -- call forms and errors ----------------------------------------------------------------


def test_functions_of_numpy_differentiate_tensors():
    x, b = definite(real, 3, 3), real(3)

    def by_numpy(a):
        solved = np.linalg.solve(a, b)
        return (
            np.linalg.norm(solved)
            + np.linalg.det(a)
            + np.einsum("ii", np.linalg.inv(a))
            + (np.linalg.svd(a, False)[1][0] + np.linalg.eigvalsh(a, UPLO="L")[0])
        )

    def by_us(a):
        solved = hnp.linalg.solve(a, b)
        return (
            hnp.linalg.norm(solved)
            + hnp.linalg.det(a)
            + hnp.trace(hnp.linalg.inv(a))
            + (hnp.linalg.svdvals(a)[0] + hnp.linalg.eigvalsh(a, "L")[0])
        )

    close(grad(by_numpy)(x), grad(by_us)(x))


def test_arrays_give_arrays_and_tensors_give_tensors():
    x = definite(real, 3, 3)
    assert type(hnp.linalg.inv(x)) is np.ndarray
    assert isinstance(hnp.linalg.inv(Tensor(x)), Tensor)
    result = hnp.linalg.eigh(Tensor(x))
    assert isinstance(result.eigenvalues, Tensor)
    assert isinstance(hnp.linalg.eigvalsh(Tensor(x)), Tensor)
    assert isinstance(hnp.linalg.matrix_power(Tensor(x), 0), Tensor)


def test_lists_and_integers_are_taken():
    close(hnp.linalg.inv([[1, 2], [3, 4]]), np.linalg.inv([[1, 2], [3, 4]]))
    close(hnp.matmul([[1, 2]], [[3], [4]]), [[11]])
    close(hnp.linalg.norm([3, 4]), 5)


def test_float32_stays_float32():
    x = definite(real, 3, 3).astype(np.float32)
    la = hnp.linalg
    for function in (la.inv, la.det, la.cholesky, la.expm, la.pinv, la.norm, la.svdvals, la.cond,
                     la.eigvalsh, lambda a: la.norm(a, 3, axis=0), lambda a: la.solve(a, a),
                     lambda a: la.norm(a, 0, axis=0)):  # fmt: skip
        assert function(x).dtype == np.float32
    for function in (la.inv, la.det, la.cholesky, la.expm, la.pinv, la.norm, la.svdvals):
        assert grad(lambda a, f=function: hnp.sum(f(a)))(x).dtype == np.float32


def test_empty_stacks():
    for shape in [(0, 2, 2), (2, 0, 0)]:
        x = np.zeros(shape)
        for name in ("inv", "det", "cholesky", "pinv", "eigvalsh", "svdvals", "expm"):
            found = getattr(hnp.linalg, name)(x)
            assert found.shape[0] == shape[0]
            gradient = grad(lambda a, n=name: hnp.sum(getattr(hnp.linalg, n)(a)))(x)
            assert gradient.shape == shape


def test_a_singular_matrix_is_an_error_of_linear_algebra():
    with pytest.raises(np.linalg.LinAlgError, match=r"inv\(float64\[2, 2\]\)"):
        hnp.linalg.inv(np.ones((2, 2)))
    with pytest.raises(np.linalg.LinAlgError, match="cholesky"):
        grad(lambda x: hnp.sum(hnp.linalg.cholesky(x)))(-np.eye(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hnp.linalg.inv(np.ones((2, 3))), "inv needs square matrices"),
        (lambda: hnp.linalg.svd(np.ones(3)), "svd needs a matrix"),
        (lambda: hnp.linalg.qr(np.ones((3, 3)), mode="raw"), "mode 'raw'"),
        (lambda: hnp.linalg.norm(np.ones(3), "fro"), "order 'fro' of a vector"),
        (lambda: hnp.linalg.norm(np.ones((3, 3)), 3), "order 3"),
        (lambda: hnp.linalg.norm(np.ones((3, 3, 3)), 2), "over 3 axes"),
        (lambda: hnp.linalg.eigh(np.eye(2), "X"), "UPLO is 'X'"),
        (lambda: hnp.linalg.solve_triangular(np.eye(2), np.ones(3)), "as many rows"),
        (lambda: hnp.matmul(np.ones((2, 3)), np.ones((2, 3))), "matmul: the last axis"),
        (lambda: hnp.matmul(np.float64(2), np.ones(3)), "at least one dimension"),
        (lambda: hnp.cross(np.ones(2), np.ones(2)), "three components"),
        (lambda: hnp.vecdot(np.ones(1), np.ones(3)), "vecdot: axis -1"),
    ],
)
def test_errors_say_what_was_wrong(call, message):
    with pytest.raises(ShapeError, match=message):
        call()
