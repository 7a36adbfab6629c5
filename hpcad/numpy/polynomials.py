"""Polynomials by their coefficients, highest power first, as in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.errors import ShapeError
from hpcad.numpy.dtypes import astype
from hpcad.primitives.elementwise import add, multiply, power
from hpcad.primitives.indexing import getitem
from hpcad.primitives.joining import stack
from hpcad.primitives.shapes import as_array

__all__: list[str] = ["polyval", "vander"]


def polyval(p: Any, x: Any) -> Any:
    """Value of a polynomial at ``x`` by Horner's rule; differentiable in both.

    Parameters
    ----------
    p : array, shape (degree + 1,)
        ``p[0] x^degree + ... + p[degree]``.
    x : array or number
    """
    p, x = as_array(p), as_array(x)
    total: Any = multiply(x, 0)
    for i in range(p.shape[0]):
        total = add(multiply(total, x), getitem(p, i))
    return total


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Matrix of the powers of ``x``: ``N`` columns, highest power first unless ``increasing``.

    Parameters
    ----------
    x : array, shape (n,)
    N : int, optional
        n when left out.

    Returns
    -------
    array, shape (n, N)
    """
    x = as_array(x)
    if len(x.shape) != 1:
        raise ShapeError(f"vander needs a vector, not an array of shape {tuple(x.shape)}")
    if x.dtype.kind in "biu":  # as powers of small integers leave their range
        x = astype(x, np.promote_types(x.dtype, np.int64), copy=False)
    count = x.shape[0] if N is None else N
    powers = range(count) if increasing else range(count - 1, -1, -1)
    if count == 0:
        return getitem(x, (slice(None), None))[:, :0]
    return stack([power(x, k) for k in powers], -1)
