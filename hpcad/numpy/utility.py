"""Tests of truth (constants), and differences of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from hpcad.autodiff.tensor import value_of
from hpcad.errors import ConfigError, ShapeError
from hpcad.primitives import joining, layout, reduction
from hpcad.primitives.elementwise import not_equal, subtract
from hpcad.primitives.indexing import getitem
from hpcad.primitives.reduction import Axis, broadcast_to
from hpcad.primitives.shapes import as_array

__all__: list[str] = ["all", "any", "array_equal", "array_equiv", "diff", "ediff1d"]


def all(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """Whether every element is non-zero; nan is."""
    return reduction.all(x, axis, keepdims)


def any(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """Whether some element is non-zero; nan is."""
    return reduction.any(x, axis, keepdims)


def array_equal(x1: Any, x2: Any, /, equal_nan: bool = False) -> bool:
    """Whether two arrays have the same shape and the same elements."""
    a, b = value_of(as_array(x1)), value_of(as_array(x2))
    return bool(np.array_equal(a, b, equal_nan))


def array_equiv(x1: Any, x2: Any, /) -> bool:
    """Whether two arrays are equal after broadcasting one to the shape of the other."""
    return bool(np.array_equiv(value_of(as_array(x1)), value_of(as_array(x2))))


def diff(x: Any, /, n: int = 1, axis: int = -1, *, prepend: Any = None, append: Any = None) -> Any:
    """Differences ``x[i + 1] - x[i]`` along an axis, ``n`` times over.

    Parameters
    ----------
    x : array
        Of booleans, the differences are exclusive or.
    n : int
    axis : int
    prepend, append : array or number, optional
        Put before and behind ``x`` first; differentiable, too.
    """
    x = as_array(x)
    if n < 0:
        raise ConfigError(f"diff: the order n cannot be negative, but is {n}")
    if len(x.shape) == 0:
        raise ShapeError("diff needs an array of at least one dimension")
    axis = normalize_axis_index(axis, len(x.shape))
    ends = [None if end is None else _end(end, x, axis) for end in (prepend, append)]
    parts = [part for part in (ends[0], x, ends[1]) if part is not None]
    x = joining.concatenate(parts, axis) if len(parts) > 1 else x
    lead = (slice(None),) * axis
    minus = not_equal if x.dtype == np.bool_ else subtract
    for _ in range(n):
        x = minus(getitem(x, (*lead, slice(1, None))), getitem(x, (*lead, slice(None, -1))))
    return x


def _end(end: Any, x: Any, axis: int) -> Any:
    if not hasattr(end, "dtype"):
        end = np.asarray(end, np.result_type(x.dtype, end) if np.ndim(end) == 0 else None)
    if len(end.shape):
        return end
    return broadcast_to(end, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))


def ediff1d(x: Any, /, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours of the flattened array, between ``to_begin`` and ``to_end``."""
    inner = diff(layout.reshape(as_array(x), (-1,)))
    parts = [
        layout.reshape(as_array(part), (-1,))
        for part in (to_begin, inner, to_end)
        if part is not None
    ]
    return joining.concatenate(parts, 0) if len(parts) > 1 else inner
