"""Norms, condition numbers and ranks.

Where a norm has a kink, its derivative is the element 0 of its subdifferential (at 0), or the mean
of the one-sided ones (at ties of the maximum).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import value_of
from hpcad.errors import ShapeError
from hpcad.numpy.linalg.arguments import floating, matrices
from hpcad.numpy.linalg.decompositions import svdvals
from hpcad.primitives import norms, reduction, singular, solving
from hpcad.primitives.elementwise import absolute
from hpcad.primitives.extremes import max, min
from hpcad.primitives.layout import expand_dims, moveaxis, reshape

Axis = int | tuple[int, ...] | None


def vector_norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The norm ``sum(|x|^ord)^(1/ord)`` over one axis, several, or all.

    Parameters
    ----------
    x : array
    axis : int or tuple of int, optional
    keepdims : bool
    ord : float
        Also inf (largest modulus), -inf (smallest) and 0 (number of elements that are not 0, with
        derivative 0).

    Returns
    -------
    array of real numbers
    """
    return norms.vector_norm(floating(x), axis, keepdims, ord)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """A norm of the matrices in the last two axes.

    Parameters
    ----------
    x : array, shape (..., m, n)
    keepdims : bool
    ord : {"fro", "nuc", 1, -1, 2, -2, inf, -inf}
        Frobenius norm; sum of singular values; largest or smallest sum of a column (1), singular
        value (2), sum of a row (inf).

    Returns
    -------
    array of real numbers, shape (...)
    """
    x = matrices(x, "matrix_norm")
    if ord in ("fro", None):
        return norms.vector_norm(x, (-2, -1), keepdims, 2)
    found = _matrix_norm(x, ord)
    return expand_dims(found, (-2, -1)) if keepdims else found


def _matrix_norm(x: Any, order: Any) -> Any:
    if order == "nuc" or order in (2, -2):
        # The absolute value has slope 0 at 0, as the norm is to have at the zero matrix.
        values = absolute(svdvals(x))
        return _over(order, values)
    if order in (1, -1, math.inf, -math.inf):
        sums = reduction.sum(absolute(x), axis=-2 if order in (1, -1) else -1)
        return _over(order, sums)
    raise ShapeError(
        f"matrix norm of order {order!r}; choose 'fro', 'nuc', 1, -1, 2, -2, inf or -inf"
    )


def _over(order: Any, values: Any) -> Any:
    if order == "nuc" or (order > 0 and values.shape[-1] == 0):
        return reduction.sum(values, axis=-1)
    return (max if order > 0 else min)(values, axis=-1)


def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """NumPy's norm: of a vector along one axis, of matrices in two axes, or of the whole array.

    Parameters
    ----------
    x : array
    ord : optional
        As in :func:`vector_norm` for vectors, as in :func:`matrix_norm` for matrices. When it is
        left out, the Euclidean norm of all elements.
    axis : int or pair of int, optional
    keepdims : bool
    """
    x = floating(x)
    if axis is None and ord is None:
        return norms.vector_norm(x, None, keepdims, 2)
    axes = tuple(range(len(x.shape))) if axis is None else axis
    if isinstance(axes, int) or len(axes) == 1:
        return norms.vector_norm(x, axes, keepdims, 2 if ord is None else _number(ord))
    if len(axes) != 2:
        raise ShapeError(f"norm over {len(axes)} axes; a vector has one, a matrix two")
    found = matrix_norm(moveaxis(x, axes, (-2, -1)), ord=ord)
    if not keepdims:
        return found
    places = {a % len(x.shape) for a in axes}
    return reshape(found, [1 if i in places else n for i, n in enumerate(x.shape)])


def _number(order: Any) -> float:
    if isinstance(order, str):
        raise ShapeError(f"norm of order {order!r} of a vector; choose a number")
    return order


def cond(x: Any, p: Any = None) -> Any:
    """The condition number ``|A| |A^-1|`` in the norm of order ``p`` (2 when left out)."""
    x = matrices(x, "cond")
    if p in (None, 2, -2):
        values = svdvals(x)
        largest, smallest = values[..., 0], values[..., -1]
        with np.errstate(divide="ignore"):
            return smallest / largest if p == -2 else largest / smallest
    return matrix_norm(x, ord=p) * matrix_norm(solving.inv(x), ord=p)


def matrix_rank(x: Any, /, tol: Any = None, *, rtol: Any = None) -> Any:
    """The number of singular values above ``rtol`` times the largest, or above ``tol``.

    An integer; its derivative is 0 wherever it exists.
    """
    x = matrices(x, "matrix_rank")
    return singular.matrix_rank(x, rtol=value_of(rtol), tol=value_of(tol))
