"""Quantiles: differentiable through the elements that they are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of, to_host
from hpcad.errors import ShapeError
from hpcad.primitives import layout, ordering, shapes
from hpcad.primitives.elementwise import add, cast, multiply, not_equal, subtract, where
from hpcad.primitives.indexing import getitem
from hpcad.primitives.reduction import Axis
from hpcad.primitives.repetition import take

__all__: list[str] = ["median", "percentile", "quantile"]


def median(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """Middle element of each sorted line, or the mean of the two middle ones.

    Parameters
    ----------
    x : array
        Real. A line with a nan has the median nan.
    axis : int or tuple of int, optional
    keepdims : bool
    """
    return quantile(x, 0.5, axis, keepdims=keepdims)


def percentile(x: Any, q: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """As :func:`quantile`, with ``q`` from 0 to 100."""
    return quantile(x, np.asarray(to_host(value_of(q))) / 100, axis, keepdims=keepdims)


def quantile(x: Any, q: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """Quantiles by linear interpolation between neighbours of the sorted elements.

    Parameters
    ----------
    x : array
        Real. A line with a nan has quantiles that are nan.
    q : number or array of numbers from 0 to 1
        A constant.
    axis : int or tuple of int, optional
    keepdims : bool

    Returns
    -------
    array
        The axes of ``q``, and then those of ``x`` that are left. Its cotangent goes to the one
        or two elements it was made of; of equal ones, to those that come first.
    """
    places = _checked(q)
    lines, kept = _lines(x, axis)
    n = lines.shape[-1]
    if n == 0:
        raise ShapeError("quantile needs at least one element along the axes it reduces")
    ordered = ordering.sort(lines, -1)
    where_ = places.ravel() * (n - 1)
    low = np.floor(where_).astype(np.intp)
    high = np.minimum(low + 1, n - 1)
    part = backend_of(value_of(lines)).asarray(where_ - low, dtype=lines.dtype)
    last = len(lines.shape) - 1
    below, above = take(ordered, low, last), take(ordered, high, last)
    answer = add(below, multiply(subtract(above, below), part))
    # A nan is sorted to the end.
    worst = getitem(ordered, (..., slice(n - 1, n)))
    answer = where(not_equal(worst, worst), worst, answer)
    shape = shapes.reduced(tuple(np.shape(x)), axis=axis, keepdims=True) if keepdims else kept
    return layout.reshape(layout.moveaxis(answer, -1, 0), (*places.shape, *shape))


def _checked(q: Any) -> np.ndarray:
    places = np.asarray(to_host(value_of(q)), dtype=np.float64)
    if not np.all((places >= 0) & (places <= 1)):
        raise ShapeError(
            "quantiles must lie between 0 and 1 (percentiles between 0 and 100), but some of "
            f"{places.tolist()} do not"
        )
    return places


def _lines(x: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """The axes to be reduced, as one at the end, and the shape of the others."""
    x = shapes.as_array(x)
    if x.dtype.kind not in "f":
        x = cast(x, dtype=np.float64)
    axes = shapes.axes_of(axis, len(x.shape))
    others = tuple(a for a in range(len(x.shape)) if a not in axes)
    kept = tuple(x.shape[a] for a in others)
    length = math.prod(x.shape[a] for a in axes)
    return layout.reshape(layout.transpose(x, (*others, *axes)), (*kept, length)), kept
