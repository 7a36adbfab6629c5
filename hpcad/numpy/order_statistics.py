"""Quantiles: differentiable through the elements that they are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of, to_host
from hpcad.errors import ShapeError
from hpcad.numpy.indexing import take_along_axis
from hpcad.primitives import layout, ordering, reduction, shapes
from hpcad.primitives.elementwise import add, cast, equal, multiply, not_equal, subtract, where
from hpcad.primitives.reduction import Axis

__all__: list[str] = [
    "median",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "percentile",
    "quantile",
]

MANY = 32  # places from which on it is quicker to sort


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


def percentile(x: Any, /, q: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """As :func:`quantile`, with ``q`` from 0 to 100."""
    return quantile(x, _plain(q) / 100, axis, keepdims=keepdims)


def quantile(x: Any, /, q: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
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
        or two elements it was made of; of equal elements, to as many of them.
    """
    places = _checked(q)
    lines, kept = _lines(x, axis)
    n = lines.shape[-1]
    low, high, part = _neighbours(places.ravel() * (n - 1), n)
    order = _plain_order(lines, {n - 1, *low.tolist(), *high.tolist()})
    answer = _between(_picked(lines, order, low), _picked(lines, order, high), part)
    # A nan is sorted to the end.
    worst = _picked(lines, order, np.array([n - 1]))
    answer = where(not_equal(worst, worst), worst, answer)
    return _shaped(answer, places, x, axis, kept, keepdims)


def nanmedian(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """As :func:`median`, of what is not nan; nan where there is nothing else."""
    return nanquantile(x, 0.5, axis, keepdims=keepdims)


def nanpercentile(x: Any, /, q: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """As :func:`nanquantile`, with ``q`` from 0 to 100."""
    return nanquantile(x, _plain(q) / 100, axis, keepdims=keepdims)


def nanquantile(x: Any, /, q: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """As :func:`quantile`, of what is not nan; nan where there is nothing else."""
    places = _checked(q)
    lines, kept = _lines(x, axis)
    missing = not_equal(lines, lines)
    lines = where(missing, math.nan, lines)  # such entries get no cotangent
    count = lines.shape[-1] - _plain(reduction.count_nonzero(missing, -1, True))
    low, high, part = _neighbours(places.ravel() * np.maximum(count - 1, 0), count)
    order = value_of(ordering.argsort(lines, -1))
    answer = _between(_picked(lines, order, low), _picked(lines, order, high), part)
    return _shaped(answer, places, x, axis, kept, keepdims)


def _neighbours(place: np.ndarray, count: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The elements on both sides of a place in the sorted line, and how far it is behind one."""
    low = np.floor(place).astype(np.intp)
    return low, np.minimum(low + 1, np.maximum(count - 1, 0)), place - low


def _plain_order(lines: Any, places: set[int]) -> Any:
    """A permutation of each line that puts the right elements at the given places."""
    if len(places) > MANY:
        return value_of(ordering.argsort(lines, -1, stable=False))
    return value_of(ordering.argpartition(lines, sorted(places), -1))


def _picked(lines: Any, order: Any, place: np.ndarray) -> Any:
    """The elements at some places of each line, once it is in order."""
    there = backend_of(order).asarray(place)
    there = np.broadcast_to(there, (*order.shape[:-1], there.shape[-1]))
    return take_along_axis(lines, np.take_along_axis(order, there, -1))


def _between(below: Any, above: Any, part: np.ndarray) -> Any:
    """Interpolated; where ``part`` is 0 the upper neighbour, infinite perhaps, has no say."""
    there = backend_of(value_of(below)).asarray(part, dtype=below.dtype)
    alone = equal(there, 0)
    rise = subtract(where(alone, 0, above), where(alone, 0, below))
    return add(below, multiply(rise, there))


def _shaped(answer: Any, places: Any, x: Any, axis: Axis, kept: Any, keepdims: bool) -> Any:
    """The axes of the quantiles in front, and those that were reduced if they are wanted."""
    shape = shapes.reduced(tuple(np.shape(x)), axis=axis, keepdims=True) if keepdims else kept
    return layout.reshape(layout.moveaxis(answer, -1, 0), (*places.shape, *shape))


def _plain(x: Any) -> np.ndarray:
    return np.asarray(to_host(value_of(x)))


def _checked(q: Any) -> np.ndarray:
    places = _plain(q).astype(np.float64)
    if not np.all((places >= 0) & (places <= 1)):
        raise ShapeError(
            "quantiles must lie between 0 and 1 (percentiles between 0 and 100), but some of "
            f"{places.tolist()} do not"
        )
    return places


def _lines(x: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """The axes to be reduced, as one at the end, and the shape of the others."""
    x = shapes.as_array(x)
    if x.dtype.kind == "c":
        raise TypeError("complex numbers have no order, and so no quantiles; take abs or real")
    if x.dtype.kind != "f":
        x = cast(x, dtype=np.float64)
    axes = shapes.axes_of(axis, len(x.shape))
    others = tuple(a for a in range(len(x.shape)) if a not in axes)
    kept = tuple(x.shape[a] for a in others)
    length = math.prod(x.shape[a] for a in axes)
    if length == 0:
        raise ShapeError("quantiles need at least one element along the axes that are reduced")
    return layout.reshape(layout.transpose(x, (*others, *axes)), (*kept, length)), kept
