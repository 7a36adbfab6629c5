"""Reductions that ignore nan: such entries count as absent and get no cotangent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import value_of
from hpcad.numpy.cumulative import cumprod, cumsum
from hpcad.numpy.searching import argmax, argmin
from hpcad.numpy.statistical import free_parameters, in_precision, prod, root, squared_modulus, sum
from hpcad.primitives import extremes, reduction
from hpcad.primitives.elementwise import (
    cast,
    divide,
    less_equal,
    logical_not,
    not_equal,
    subtract,
    where,
)
from hpcad.primitives.reduction import Axis
from hpcad.primitives.shapes import as_array

__all__: list[str] = [
    "nanargmax",
    "nanargmin",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
]


def _filled(x: Any, value: int) -> tuple[Any, Any]:
    """Where x is nan, and x with ``value`` there."""
    x = as_array(x)
    missing = not_equal(x, x)
    return missing, where(missing, value, x)


def _shared(total: Any, missing: Any, axis: Axis, keepdims: bool, less: float = 0) -> Any:
    """``total`` over (number of entries that are there - ``less``); nan if that is not positive."""
    count = subtract(reduction.sum(logical_not(missing), axis, keepdims), less)
    kind = np.float64 if total.dtype.kind not in "fc" else np.finfo(total.dtype).dtype
    none = less_equal(count, 0)
    share = divide(total, cast(where(none, 1, count), dtype=kind))
    return where(none, math.nan, share)


def nansum(x: Any, /, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    """Sum of what is not nan; parameters as for :func:`sum`."""
    return sum(_filled(x, 0)[1], axis, dtype, keepdims=keepdims)


def nanprod(x: Any, /, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    """Product of what is not nan; parameters as for :func:`prod`."""
    return prod(_filled(x, 1)[1], axis, dtype, keepdims=keepdims)


def nancumsum(x: Any, /, axis: int | None = None, dtype: Any = None) -> Any:
    """Running sums in which nan counts as 0; see :func:`cumsum`."""
    return cumsum(_filled(x, 0)[1], axis, dtype)


def nancumprod(x: Any, /, axis: int | None = None, dtype: Any = None) -> Any:
    """Running products in which nan counts as 1; see :func:`cumprod`."""
    return cumprod(_filled(x, 1)[1], axis, dtype)


def nanmax(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """Largest element that is not nan (nan if all are); at ties split evenly."""
    return extremes.nanmax(x, axis, keepdims)


def nanmin(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """Smallest element that is not nan (nan if all are); at ties split evenly."""
    return extremes.nanmin(x, axis, keepdims)


def nanargmax(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """Index of the largest element that is not nan; an error where all are."""
    return _place(argmax, x, -math.inf, axis, keepdims)


def nanargmin(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """Index of the smallest element that is not nan; an error where all are."""
    return _place(argmin, x, math.inf, axis, keepdims)


def _place(of: Any, x: Any, worst: float, axis: int | None, keepdims: bool) -> Any:
    x = as_array(x)
    if x.dtype.kind not in "fc":
        return of(x, axis, keepdims=keepdims)
    missing = not_equal(x, x)
    if np.any(value_of(reduction.all(missing, axis))):
        raise ValueError("nanargmax and nanargmin of a line that has nothing but nan")
    return of(where(missing, worst, x), axis, keepdims=keepdims)


def nanmean(x: Any, /, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    """Mean of what is not nan; nan where there is nothing else."""
    missing, filled = _filled(in_precision(as_array(x), dtype), 0)
    return _shared(reduction.sum(filled, axis, keepdims), missing, axis, keepdims)


def nanvar(
    x: Any,
    /,
    axis: Axis = None,
    dtype: Any = None,
    *,
    correction: float | None = None,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Any:
    """Variance of what is not nan; see :func:`var`."""
    missing, filled = _filled(in_precision(as_array(x), dtype), 0)
    centred = where(missing, 0, subtract(filled, nanmean(x, axis, dtype, keepdims=True)))
    spread = reduction.sum(squared_modulus(centred), axis, keepdims)
    return _shared(spread, missing, axis, keepdims, free_parameters(correction, ddof))


def nanstd(
    x: Any,
    /,
    axis: Axis = None,
    dtype: Any = None,
    *,
    correction: float | None = None,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Any:
    """Standard deviation of what is not nan; see :func:`std`."""
    return root(nanvar(x, axis, dtype, correction=correction, keepdims=keepdims, ddof=ddof))
