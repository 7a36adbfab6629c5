"""Decompositions where the table cannot test them: phases, coinciding values, singular matrices."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.autodiff import check_grads, grad, hessian, jvp, value_of, vjp
from hpcad.primitives.determinants import cofactors, det, slogdet
from hpcad.primitives.eigen import eig, eigh
from hpcad.primitives.elementwise import absolute
from hpcad.primitives.factorizations import qr
from hpcad.primitives.matrices import H, mm, rows
from hpcad.primitives.reduction import sum
from hpcad.primitives.singular import svd

rng = np.random.default_rng(11)


def plane(*shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def real(*shape):
    return rng.standard_normal(shape)


BOTH = pytest.mark.parametrize("make", [real, plane])


# -- functions that do not depend on phases -----------------------------------------------


@BOTH
def test_projector_on_two_eigenvectors_of_a_hermitian_matrix(make):
    def projector(x):
        v = eigh(x)[1][..., :2]
        return mm(v, H(v))

    check_grads(projector, (make(2, 4, 4),), order=2)


@BOTH
def test_function_of_a_hermitian_matrix(make):
    def cube(x):
        w, v = eigh(x)
        return mm(v * rows(w * w * w), H(v))

    check_grads(cube, (make(3, 3),), order=2)


@BOTH
def test_moduli_of_eigenvectors_of_a_general_matrix(make):
    """Of norm 1: the rule must undo what normalization does, but not what a phase does."""
    check_grads(lambda x: absolute(eig(x)[1]), (make(2, 3, 3),), order=2)


@BOTH
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (2, 3, 3)])
def test_truncated_singular_value_decomposition(shape, make):
    def truncated(x):
        u, s, vh = svd(x, full=False)
        return mm(u[..., :2] * rows(s[..., :2]), vh[..., :2, :])

    check_grads(truncated, (make(*shape),), order=2)


@BOTH
@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_projector_on_the_vectors_that_full_matrices_adds(shape, make):
    def projectors(x):
        u, s, vh = svd(x, full=True)
        k = s.shape[-1]
        return mm(u[..., k:], H(u[..., k:])), mm(H(vh[..., k:, :]), vh[..., k:, :])

    check_grads(projectors, (make(*shape),), order=2)


@BOTH
def test_projector_on_the_columns_that_complete_adds(make):
    def projector(x):
        rest = qr(x, complete=True)[0][..., 2:]
        return mm(rest, H(rest))

    check_grads(projector, (make(4, 2),), order=2)


# -- coinciding values --------------------------------------------------------------------


def degenerate():
    """A symmetric matrix with eigenvalues 1, 1, 2, not exactly so after rounding."""
    q, _ = np.linalg.qr(real(3, 3))
    return q @ np.diag([1.0, 1.0, 2.0]) @ q.T


@pytest.mark.parametrize("power", [2, 3])
def test_traces_of_powers_at_a_double_eigenvalue(power):
    x = degenerate()
    found = grad(lambda a: sum(eigh(a)[0] ** power))(x)
    np.testing.assert_allclose(found, power * np.linalg.matrix_power(x, power - 1), atol=1e-12)


@pytest.mark.parametrize("space", [slice(2), slice(2, 3)], ids=["double", "single"])
def test_projectors_on_whole_eigenspaces_at_a_double_eigenvalue(space):
    """Where the two vectors of the double one turn into each other nothing must be 0 / 0."""

    def projector(a):
        v = eigh(a)[1][..., space]
        return mm(v, H(v))

    check_grads(projector, (degenerate(),), order=1)


def test_the_identity_has_finite_derivatives():
    one = np.eye(3)
    for function in (
        lambda x: sum(eigh(x)[1]),
        lambda x: sum(svd(x, full=True)[0] * svd(x, full=True)[2]),
        lambda x: sum(absolute(eig(x)[1])),
    ):
        assert np.all(np.isfinite(grad(function)(one)))


@BOTH
def test_singular_values_of_a_matrix_of_low_rank(make):
    x = make(4, 1) @ make(1, 3)
    u, _, vh = np.linalg.svd(x)
    found = grad(lambda a: svd(a, full=False)[1][..., 0])(x)
    np.testing.assert_allclose(found, (u[:, :1] @ vh[:1]).conj(), atol=1e-12)


# -- determinants -------------------------------------------------------------------------


def adjugate_transposed(x):
    n = x.shape[-1]
    minors = [[np.delete(np.delete(x, i, 0), j, 1) for j in range(n)] for i in range(n)]
    return np.array([[(-1) ** (i + j) * np.linalg.det(minors[i][j]) for j in range(n)]
                     for i in range(n)])  # fmt: skip


@BOTH
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_gradient_of_the_determinant_at_any_rank(rank, make):
    x = make(4, rank) @ make(rank, 4)
    found = vjp(det, x)[1](np.ones((), x.dtype))[0]
    np.testing.assert_allclose(found, adjugate_transposed(x), atol=1e-12)
    if rank < 3:
        np.testing.assert_allclose(found, 0, atol=1e-12)


def test_derivatives_of_the_determinant_of_the_zero_matrix_to_third_order():
    """det of a 3 x 3 matrix is a cubic form: at 0 its third derivative alone is not 0."""
    zero, direction = np.zeros((3, 3)), real(3, 3)

    def along(f):
        return lambda x: jvp(f, (x,), (direction,))[1]

    first, second, third = along(det), along(along(det)), along(along(along(det)))
    assert first(zero) == 0
    assert second(zero) == 0
    np.testing.assert_allclose(third(zero), 6 * np.linalg.det(direction), rtol=1e-12)


def test_hessian_of_the_determinant_of_a_singular_matrix():
    x = np.array([[1.0, 2.0], [2.0, 4.0]])
    expected = np.zeros((2, 2, 2, 2))
    expected[0, 0, 1, 1] = expected[1, 1, 0, 0] = 1
    expected[0, 1, 1, 0] = expected[1, 0, 0, 1] = -1
    np.testing.assert_allclose(hessian(det)(x), expected, atol=1e-12)


def test_singular_and_regular_matrices_in_one_batch():
    x = np.stack([np.ones((3, 3)), np.eye(3) + 0.1 * real(3, 3)])
    found = cofactors(x)
    np.testing.assert_allclose(found, [adjugate_transposed(a) for a in x], atol=1e-12)
    check_grads(det, (x,), order=3)


def test_logarithm_of_a_singular_determinant_has_a_derivative_of_nan():
    x = np.stack([np.eye(2), np.ones((2, 2))])
    (value, pullback) = vjp(lambda a: slogdet(a)[1], x)
    np.testing.assert_array_equal(value_of(value), [0, -np.inf])
    found = pullback(np.ones(2))[0]
    np.testing.assert_allclose(found[0], np.eye(2))
    assert np.all(np.isnan(found[1]))
