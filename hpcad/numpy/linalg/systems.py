"""Linear systems, inverses and determinants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from hpcad.autodiff.tensor import value_of
from hpcad.errors import ShapeError
from hpcad.numpy.linalg.arguments import floating, matrices
from hpcad.numpy.linalg.decompositions import svdvals
from hpcad.numpy.linalg.norms import matrix_rank
from hpcad.primitives import determinants, reduction, singular, solving
from hpcad.primitives.elementwise import absolute, square
from hpcad.primitives.layout import moveaxis, reshape
from hpcad.primitives.matrices import H, T
from hpcad.primitives.product import matmul


class SlogdetResult(NamedTuple):
    """Sign (of modulus 1, or 0) and natural logarithm of the modulus of a determinant."""

    sign: Any
    logabsdet: Any


def solve(x1: Any, x2: Any, /) -> Any:
    """The solution X of ``A X = B``.

    Parameters
    ----------
    x1 : array, shape (..., n, n)
    x2 : array, shape (n,) or (..., n, k)

    Returns
    -------
    array, shape (..., n) or (..., n, k)

    Raises
    ------
    LinAlgError
        A matrix is singular.

    Notes
    -----
    VJP: ``dB = A^-T g``, ``dA = -dB X^T``: one more solution, with the transposed matrix.
    """
    a, b = matrices(x1, "solve", square=True), floating(x2)
    if len(b.shape) == 1:
        return _column(solving.solve(a, reshape(b, (*b.shape, 1))))
    return solving.solve(a, b)


def solve_triangular(
    a: Any,
    b: Any,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
) -> Any:
    """The solution X of ``A X = B`` with a triangular A; its other triangle is not read.

    Parameters
    ----------
    a : array, shape (..., n, n)
    b : array, shape (n,) or (..., n, k)
    trans : {0, 1, 2, "N", "T", "C"}
        Solve with A, with its transpose, or with its conjugate transpose.
    lower : bool
        Which triangle A is.
    unit_diagonal : bool
        Take the diagonal for ones.
    """
    a, b = matrices(a, "solve_triangular", square=True), floating(b)
    kind = "NTC"[trans] if trans in (0, 1, 2) else trans
    if kind not in ("N", "T", "C"):
        raise ShapeError(f"solve_triangular: trans is {trans!r}; choose 'N', 'T' or 'C'")
    if kind != "N":
        a, lower = (T(a) if kind == "T" else H(a)), not lower
    options = {"lower": bool(lower), "unit_diagonal": bool(unit_diagonal)}
    if len(b.shape) == 1:
        return _column(solving.solve_triangular(a, reshape(b, (*b.shape, 1)), **options))
    return solving.solve_triangular(a, b, **options)


def inv(x: Any, /) -> Any:
    """The inverse of a square matrix. JVP: ``-A^-1 T A^-1``."""
    return solving.inv(matrices(x, "inv", square=True))


def pinv(x: Any, /, rcond: Any = None, *, rtol: Any = None) -> Any:
    """The Moore-Penrose pseudo-inverse.

    Parameters
    ----------
    x : array, shape (..., m, n)
    rtol : float or array, optional
        Singular values up to this fraction of the largest count as 0; max(m, n) times the
        rounding error of the dtype when left out. ``rcond`` is NumPy's name for it.

    Notes
    -----
    Differentiable where the rank does not change. The tolerance is not differentiated.
    """
    x = matrices(x, "pinv")
    rtol = value_of(rcond if rtol is None else rtol)
    return solving.pinv(x, rtol=singular.threshold(x, rtol))


def lstsq(a: Any, b: Any, rcond: float | None = None) -> tuple[Any, Any, Any, Any]:
    """The shortest X that minimizes the norm of ``A X - B``.

    Parameters
    ----------
    a : array, shape (m, n)
    b : array, shape (m,) or (m, k)
    rcond : float, optional
        See :func:`pinv`.

    Returns
    -------
    solution : array, shape (n,) or (n, k)
    residuals : array, shape (k,)
        Squared norms of the columns of ``A X - B``; empty if the rank is below n, or m <= n.
    rank : int
    singular values : array

    Notes
    -----
    Solution, residuals and singular values are differentiable where the rank does not change.
    """
    a, b = matrices(a, "lstsq"), floating(b)
    m, n = a.shape
    right = reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b
    x = matmul(pinv(a, rtol=rcond), right)
    rank = int(matrix_rank(a, rtol=rcond))
    if rank == n and m > n:
        residuals = reduction.sum(square(absolute(matmul(a, x) - right)), axis=0)
    else:
        residuals = absolute(x[:0, 0])
    return (_column(x) if len(b.shape) == 1 else x), residuals, rank, svdvals(a)


def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Any:
    """The solution x of ``tensordot(a, x, x.ndim) = b``; ``axes`` of a are moved to its end."""
    a, b = floating(a), floating(b)
    if axes is not None:
        a = moveaxis(a, tuple(axes), tuple(range(-len(axes), 0)))
    shape = tuple(a.shape[len(b.shape) :])
    size = math.prod(shape)
    return reshape(solve(reshape(a, (math.prod(b.shape), size)), reshape(b, (size,))), shape)


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of ``x -> tensordot(a, x)``, whose answers have ``ind`` axes."""
    a = floating(a)
    shape = tuple(a.shape)
    if ind <= 0:
        raise ShapeError(f"tensorinv: ind is {ind}, but the number of axes must be positive")
    inverse = inv(reshape(a, (math.prod(shape[:ind]), math.prod(shape[ind:]))))
    return reshape(inverse, (*shape[ind:], *shape[:ind]))


def det(x: Any, /) -> Any:
    """The determinant. VJP: the matrix of cofactors, exact at singular matrices, too."""
    return determinants.det(matrices(x, "det", square=True))


def slogdet(x: Any, /) -> SlogdetResult:
    """Sign and logarithm of the modulus of the determinant.

    Notes
    -----
    VJP of the logarithm: ``A^-T``; at a singular matrix the logarithm is -inf, and its derivative
    nan. The sign of a real matrix has derivative 0.
    """
    return SlogdetResult(*determinants.slogdet(matrices(x, "slogdet", square=True)))


def _column(x: Any) -> Any:
    return reshape(x, x.shape[:-1])
