"""Factorizations, eigenvalues and singular values."""

from __future__ import annotations

from typing import Any, NamedTuple

from hpcad.errors import ShapeError
from hpcad.numpy.linalg.arguments import matrices
from hpcad.primitives import eigen, factorizations, singular
from hpcad.primitives.indexing import is_tracked
from hpcad.primitives.joining import concatenate
from hpcad.primitives.matrices import H, lower, mm, upper


class EighResult(NamedTuple):
    """Eigenvalues (..., n) and, in columns, eigenvectors (..., n, n)."""

    eigenvalues: Any
    eigenvectors: Any


class EigResult(NamedTuple):
    """Eigenvalues (..., n) and, in columns, eigenvectors (..., n, n)."""

    eigenvalues: Any
    eigenvectors: Any


class LUResult(NamedTuple):
    """Permutation matrix, lower triangle with ones on its diagonal, upper triangle."""

    P: Any
    L: Any
    U: Any


class QRResult(NamedTuple):
    """Orthonormal columns Q and upper triangular R."""

    Q: Any
    R: Any


class SVDResult(NamedTuple):
    """Left singular vectors in columns, singular values, right singular vectors in rows."""

    U: Any
    S: Any
    Vh: Any


def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """``A = L L^H`` (or ``U^H U``) of a Hermitian positive-definite matrix.

    Parameters
    ----------
    x : array, shape (..., n, n)
        Its Hermitian part ``(A + A^H) / 2`` is factorized, so that the gradient is Hermitian, too.
    upper : bool
        Return U instead of L.

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    LinAlgError
        A matrix is not positive-definite.
    """
    factor = factorizations.cholesky(matrices(x, "cholesky", square=True))
    return H(factor) if upper else factor


def lu(x: Any, /) -> LUResult:
    """``A = P L U`` of a square matrix: a permutation and two triangles.

    Differentiable where the matrix is regular; the permutation is constant.
    """
    return LUResult(*factorizations.lu(matrices(x, "lu", square=True)))


def qr(x: Any, /, mode: str = "reduced") -> Any:
    """``A = Q R`` with orthonormal columns Q and an upper triangular R.

    Parameters
    ----------
    x : array, shape (..., m, n)
    mode : {"reduced", "complete", "r"}
        Q with min(m, n) columns, or with m; or R alone.

    Returns
    -------
    QRResult (or the array R)

    Notes
    -----
    Differentiable where the first min(m, n) columns are linearly independent. The columns that
    ``"complete"`` adds are any basis of the rest of the space; functions that depend on the choice
    have no derivative.
    """
    x = matrices(x, "qr")
    if mode not in ("reduced", "complete", "r"):
        raise ShapeError(f"qr: mode {mode!r}; choose 'reduced', 'complete' or 'r'")
    m, n = x.shape[-2:]
    complete = mode == "complete"
    if m >= n or not is_tracked(x):
        q, r = factorizations.qr(x, complete=complete)
    else:  # the factorization of the first m columns gives that of all
        q, r = factorizations.qr(x[..., :m], complete=complete)
        r = concatenate([r, mm(H(q), x[..., m:])], -1)
    return r if mode == "r" else QRResult(q, r)


def eigh(x: Any, /, UPLO: str | None = None) -> EighResult:
    """Eigenvalues, in ascending order, and eigenvectors of a Hermitian matrix.

    Parameters
    ----------
    x : array, shape (..., n, n)
        The Hermitian part ``(A + A^H) / 2`` is decomposed, so that the gradient is Hermitian, too.
    UPLO : {"L", "U"}, optional
        Read only the lower or the upper triangle instead.

    Returns
    -------
    EighResult
        Real eigenvalues and orthonormal eigenvectors.

    Notes
    -----
    Functions that change when an eigenvector is multiplied by -1 or ``exp(i phi)`` have no
    derivative. Where eigenvalues coincide, first derivatives are exact of symmetric functions of
    the eigenvalues (as the sum of their powers) and of projectors on whole eigenspaces, but not
    all others; see :mod:`hpcad.primitives.eigen`.
    """
    return EighResult(*eigen.eigh(_hermitian(x, UPLO, "eigh")))


def eigvalsh(x: Any, /, UPLO: str | None = None) -> Any:
    """Eigenvalues of a Hermitian matrix, in ascending order; see :func:`eigh`."""
    x = _hermitian(x, UPLO, "eigvalsh")
    return eigen.eigh(x)[0] if is_tracked(x) else eigen.eigvalsh(x)


def eig(x: Any, /) -> EigResult:
    """Eigenvalues and eigenvectors of a square matrix, always as complex numbers.

    Notes
    -----
    The eigenvectors have norm 1; functions that depend on their phases have no derivative. Where
    eigenvalues coincide, see :func:`eigh`; a matrix without a basis of eigenvectors has no
    derivative.
    """
    return EigResult(*eigen.eig(matrices(x, "eig", square=True)))


def eigvals(x: Any, /) -> Any:
    """Eigenvalues of a square matrix, always as complex numbers; see :func:`eig`."""
    x = matrices(x, "eigvals", square=True)
    return eigen.eig(x)[0] if is_tracked(x) else eigen.eigvals(x)


def svd(x: Any, /, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular value decomposition ``A = U S V^H``.

    Parameters
    ----------
    x : array, shape (..., m, n)
    full_matrices : bool
        Square U and Vh; else min(m, n) columns of U and rows of Vh.
    compute_uv : bool
        Return the singular values alone if False.

    Returns
    -------
    SVDResult (or the array S)

    Notes
    -----
    Singular values in descending order. Functions that depend on the phases of singular vectors,
    or on the choice of those that ``full_matrices`` adds, have no derivative. Where singular
    values coincide or are 0, see :func:`eigh`.
    """
    if not compute_uv:
        return svdvals(x)
    return SVDResult(*singular.svd(matrices(x, "svd"), full=bool(full_matrices)))


def svdvals(x: Any, /) -> Any:
    """Singular values of a matrix, in descending order."""
    x = matrices(x, "svdvals")
    return singular.svd(x, full=False)[1] if is_tracked(x) else singular.svdvals(x)


def _hermitian(x: Any, triangle: str | None, name: str) -> Any:
    """The matrix, or the Hermitian matrix that has the given triangle."""
    x = matrices(x, name, square=True)
    if triangle is None:
        return x
    if triangle.upper() not in ("L", "U"):
        raise ShapeError(f"{name}: UPLO is {triangle!r}; choose 'L' or 'U'")
    below = lower(x) if triangle.upper() == "L" else H(upper(x))
    return below + H(lower(below, -1))
