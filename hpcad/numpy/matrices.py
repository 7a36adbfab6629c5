"""Triangles, diagonals and grids of coordinates. All differentiate."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.tensor import Tensor
from hpcad.errors import ShapeError
from hpcad.primitives import creation as p
from hpcad.primitives.indexing import getitem, scatter
from hpcad.primitives.layout import reshape
from hpcad.primitives.reduction import broadcast_to

__all__ = ["diag", "diagflat", "meshgrid", "tri", "tril", "triu"]


def tril(x: Any, /, k: int = 0) -> Any:
    """Return the lower triangles of matrices (..., m, n): zero above the ``k``-th diagonal."""
    return p.tril(_matrices(x, "tril"), k=k)


def triu(x: Any, /, k: int = 0) -> Any:
    """Return the upper triangles of matrices (..., m, n): zero below the ``k``-th diagonal."""
    return p.triu(_matrices(x, "triu"), k=k)


def _matrices(x: Any, name: str) -> Any:
    x = x if hasattr(x, "dtype") else np.asarray(x)
    if x.ndim < 2:
        raise ShapeError(f"{name} needs matrices (..., m, n), not an array of shape {x.shape}")
    return x


def tri(n: int, m: int | None = None, /, k: int = 0, dtype: Any = None) -> Tensor:
    """Return a matrix with ones on and below the ``k``-th diagonal."""
    return Tensor(np.tri(n, m, k, dtype or np.float64))


def diag(v: Any, /, k: int = 0) -> Any:
    """Return the matrix with ``v`` on its ``k``-th diagonal, or that diagonal of a matrix."""
    v = v if hasattr(v, "dtype") else np.asarray(v)
    if v.ndim == 1:
        n = v.shape[0] + abs(k)
        places = np.arange(v.shape[0])
        return scatter(v, index=(places + max(0, -k), places + max(0, k)), before=(n, n))
    if v.ndim == 2:
        rows, columns = v.shape
        length = max(0, min(rows + min(0, k), columns - max(0, k)))
        places = np.arange(length)
        return getitem(v, (places + max(0, -k), places + max(0, k)))
    raise ShapeError(f"diag needs a vector or a matrix, not an array of shape {v.shape}")


def diagflat(v: Any, /, k: int = 0) -> Any:
    """Return the matrix with the elements of ``v``, in one row, on its ``k``-th diagonal."""
    return diag(reshape(v, (-1,)), k)


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Any, ...]:
    """Return the coordinates of all points of a grid.

    Parameters
    ----------
    *arrays : arrays without or with one axis
        The coordinates along each axis.
    indexing : {"xy", "ij"}
        ``"xy"`` swaps the first two axes.

    Returns
    -------
    tuple of arrays
        One per argument, all of the shape of the grid.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be 'xy' or 'ij', not {indexing!r}")
    n = len(arrays)
    axes = list(range(n))
    if indexing == "xy" and n > 1:
        axes[0], axes[1] = 1, 0
    arrays = tuple(x if hasattr(x, "dtype") else np.asarray(x) for x in arrays)
    if any(x.ndim > 1 for x in arrays):
        shapes = ", ".join(str(tuple(x.shape)) for x in arrays)
        raise ShapeError(f"meshgrid needs vectors, not arrays of shapes {shapes}")
    shape = [1] * n
    for x, axis in zip(arrays, axes, strict=True):
        shape[axis] = x.size
    grids = []
    for x, axis in zip(arrays, axes, strict=True):
        along = reshape(x, tuple(x.size if a == axis else 1 for a in range(n)))
        grids.append(p.copy(broadcast_to(along, tuple(shape))))
    return tuple(grids)
