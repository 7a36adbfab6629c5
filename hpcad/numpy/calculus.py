"""Slopes, integrals, interpolation and convolution of sampled functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from hpcad.autodiff.tensor import known, value_of
from hpcad.errors import ConfigError, ShapeError
from hpcad.numpy.utility import diff
from hpcad.primitives import layout, ordering, reduction, shapes
from hpcad.primitives.correlation import convolve_full
from hpcad.primitives.elementwise import (
    add,
    conj,
    divide,
    equal,
    floating,
    greater,
    less,
    multiply,
    subtract,
    where,
)
from hpcad.primitives.indexing import getitem
from hpcad.primitives.joining import concatenate
from hpcad.primitives.repetition import take
from hpcad.primitives.shapes import as_array

__all__: list[str] = ["convolve", "correlate", "gradient", "interp", "trapezoid"]


def trapezoid(y: Any, /, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """Integral by the trapezoidal rule; differentiable in ``y``, ``x`` and ``dx``.

    Parameters
    ----------
    y : array
        Values of the function.
    x : array, optional
        Where they were taken: along ``axis``, or of the shape of ``y``. Otherwise ``dx`` apart.
    dx : number or array
    axis : int
    """
    y = as_array(y)
    axis = normalize_axis_index(axis, len(y.shape))
    if x is not None:
        x = as_array(x)
        one = len(x.shape) == 1
        dx = _upright(diff(x), axis, len(y.shape)) if one else diff(x, axis=axis)
    lead = (slice(None),) * axis
    both = add(getitem(y, (*lead, slice(1, None))), getitem(y, (*lead, slice(None, -1))))
    return reduction.sum(divide(multiply(both, dx), 2), axis)


def _upright(x: Any, axis: int, ndim: int) -> Any:
    """A vector laid along one of several axes."""
    return layout.reshape(x, (1,) * axis + (-1,) + (1,) * (ndim - axis - 1))


# -- gradient -----------------------------------------------------------------------------


def gradient(f: Any, /, *spacing: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes by central differences inside, one-sided ones at the ends.

    Parameters
    ----------
    f : array
    *spacing : number or array, shape (n,)
        Step, or coordinates; none, one for all axes, or one for each. Differentiable, too.
    axis : int or tuple of int, optional
        All axes when left out.
    edge_order : {1, 2}
        Order of accuracy at the ends.

    Returns
    -------
    array, or tuple of arrays for several axes
    """
    f = floating(f)
    axes = shapes.axes_of(axis, len(f.shape)) if axis is None else _axes(axis, len(f.shape))
    steps = spacing or (1.0,)
    steps = steps * len(axes) if len(steps) == 1 else steps
    if len(steps) != len(axes):
        raise ConfigError(f"gradient: {len(steps)} spacings for {len(axes)} axes")
    if edge_order not in (1, 2):
        raise ConfigError(f"gradient: edge_order must be 1 or 2, not {edge_order}")
    slopes = tuple(_slope(f, a, h, edge_order) for a, h in zip(axes, steps, strict=True))
    return slopes[0] if len(slopes) == 1 else slopes


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    return tuple(normalize_axis_index(a, ndim) for a in ((axis,) if np.ndim(axis) == 0 else axis))


def _slope(f: Any, axis: int, spacing: Any, edge_order: int) -> Any:
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ShapeError(
            f"gradient with edge_order={edge_order} needs at least {edge_order + 1} elements along "
            f"an axis, but axis {axis} has {n}"
        )

    def part(x: Any, start: int | None, stop: int | None) -> Any:
        return getitem(x, (*(slice(None),) * axis, slice(start, stop)))

    gap = as_array(spacing)
    even = len(gap.shape) == 0
    if not even:
        if tuple(gap.shape) != (n,):
            raise ShapeError(
                f"gradient: {n} coordinates are needed along axis {axis}, but an array of shape "
                f"{tuple(gap.shape)} was given"
            )
        gap = _upright(diff(gap), axis, len(f.shape))
    rise = divide(diff(f, axis=axis), spacing if even else gap)
    left, right = part(rise, None, -1), part(rise, 1, None)
    if even:
        inner = divide(add(left, right), 2)
    else:  # each slope weighs as much as the gap on the other side
        before, behind = part(gap, None, -1), part(gap, 1, None)
        both = add(multiply(left, behind), multiply(right, before))
        inner = divide(both, add(before, behind))
    first, last = part(rise, 0, 1), part(rise, -1, None)
    if edge_order == 2:  # on a parabola, the slope of a chord is the mean of those at its ends
        first = subtract(multiply(2, first), part(inner, 0, 1))
        last = subtract(multiply(2, last), part(inner, -1, None))
    return concatenate([first, inner, last], axis)


# -- interpolation ------------------------------------------------------------------------


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """Piecewise linear interpolation.

    Parameters
    ----------
    x : array
        Where to interpolate.
    xp : array, shape (n,)
        Ascending knots.
    fp : array, shape (n,)
        Values at the knots.
    left, right : number, optional
        Values outside; the first and the last of ``fp`` when left out.

    Returns
    -------
    array
        Differentiable in ``x``, ``xp`` and ``fp``; at a knot, the slope to its right is taken,
        and outside it is 0.
    """
    x, xp, fp = floating(x), floating(xp), floating(fp)
    n = xp.shape[0] if len(xp.shape) == 1 else 0
    if n == 0 or tuple(fp.shape) != (n,):
        raise ShapeError(
            "interp needs vectors of knots and of values of one length, at least 1, but their "
            f"shapes are {tuple(xp.shape)} and {tuple(fp.shape)}"
        )
    first, last = getitem(xp, 0), getitem(xp, n - 1)
    low = getitem(fp, 0) if left is None else as_array(left)
    high = getitem(fp, n - 1)
    if n == 1:
        inside = high
    else:
        flat = layout.reshape(x, (-1,))
        place = known(ordering.searchsorted(value_of(xp), value_of(flat), "right"))
        place = np.clip(place - 1, 0, n - 2)
        knot, value = take(xp, place, 0), take(fp, place, 0)
        slope = divide(
            subtract(take(fp, place + 1, 0), value), subtract(take(xp, place + 1, 0), knot)
        )
        inside = add(value, multiply(slope, subtract(flat, knot)))
        inside = layout.reshape(inside, tuple(x.shape))
        inside = where(equal(x, last), high, inside)
    inside = where(less(x, first), low, inside)
    return where(greater(x, last), high if right is None else right, inside)


# -- convolution --------------------------------------------------------------------------


def convolve(x: Any, y: Any, /, mode: str = "full") -> Any:
    """Convolution of two vectors, ``z[n] = sum over k of x[k] y[n - k]``; bilinear.

    Parameters
    ----------
    x, y : array, shapes (m,) and (n,)
    mode : {"full", "same", "valid"}
        All m + n - 1 elements; the middle max(m, n); those where one covers the other.
    """
    x, y = as_array(x), as_array(y)
    long, short = _lengths(x, y)
    full = convolve_full(x, y)
    return _middle(full, long, short, mode, (short - 1) // 2)


def correlate(x: Any, y: Any, /, mode: str = "valid") -> Any:
    """Correlation of two vectors, ``z[n] = sum over k of x[n + k] conj(y[k])``.

    Parameters as for :func:`convolve`.
    """
    x, y = as_array(x), as_array(y)
    long, short = _lengths(x, y)
    reverse = layout.flip(conj(y) if y.dtype.kind == "c" else y)
    full = convolve_full(x, reverse)
    # The middle is taken before the shorter one becomes the second.
    lead = (short - 1) // 2 if x.shape[0] >= y.shape[0] else short // 2
    return _middle(full, long, short, mode, lead)


def _lengths(x: Any, y: Any) -> tuple[int, int]:
    if len(x.shape) != 1 or len(y.shape) != 1 or 0 in (x.shape[0], y.shape[0]):
        raise ShapeError(
            "convolve and correlate need vectors that are not empty, but got shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    m, n = x.shape[0], y.shape[0]
    return (m, n) if m >= n else (n, m)


def _middle(full: Any, long: int, short: int, mode: str, lead: int) -> Any:
    if mode == "full":
        return full
    if mode == "same":
        return getitem(full, slice(lead, lead + long))
    if mode == "valid":
        return getitem(full, slice(short - 1, long))
    raise ConfigError(f"unknown mode {mode!r}; expected 'full', 'same' or 'valid'")
