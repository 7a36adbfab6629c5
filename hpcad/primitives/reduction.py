"""Reductions and their adjoints, the broadcasts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives import shapes
from hpcad.primitives.elementwise import divide, equal, multiply
from hpcad.primitives.layout import reshape

Axis = int | tuple[int, ...] | None


def _spread(g: Any, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Any:
    """Give every element that was reduced the cotangent of its sum."""
    if not keepdims and axis is not None:
        g = reshape(g, shapes.reduced(shape, axis=axis, keepdims=True))
    return broadcast_to(g, shape)


def _broadcast_to(x: Any, *, shape: tuple[int, ...]) -> Any:
    return np.broadcast_to(x, shape)


_broadcast_to_primitive = Primitive(
    "broadcast_to",
    _broadcast_to,
    lambda _shape, *, shape: shape,
    [lambda g, _z, _x, shape: g],  # the tape sums the cotangent to the argument's shape
    jvp="linear",
)


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Repeat ``x`` along new and length-1 axes; the adjoint of a sum."""
    return x if np.shape(x) == tuple(shape) else _broadcast_to_primitive(x, shape=tuple(shape))


_sum = Primitive(
    "sum",
    lambda x, *, axis, keepdims, shape: np.sum(x, axis=axis, keepdims=keepdims),
    lambda x, *, axis, keepdims, shape: shapes.reduced(x, axis=axis, keepdims=keepdims),
    [lambda g, _z, _x, axis, keepdims, shape: _spread(g, shape, axis, keepdims)],
    jvp="linear",
)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Sum over ``axis`` (all axes by default). VJP: broadcast."""
    return _sum(x, axis=_static(axis), keepdims=keepdims, shape=np.shape(x))


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Arithmetic mean over ``axis``."""
    count = math.prod(np.shape(x)[a] for a in shapes.axes_of(axis, len(np.shape(x))))
    return divide(sum(x, axis, keepdims), count)


def _extreme_share(z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """1 / (number of ties) where an element attains the extreme, 0 elsewhere."""
    hit = multiply(equal(x, _spread(z, np.shape(x), axis, keepdims)), x.dtype.type(1))
    return divide(hit, sum(hit, axis, keepdims=True))


def _extreme_vjp(g: Any, z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """Split the cotangent evenly among the elements that attain the extreme."""
    share = _extreme_share(z, x, axis, keepdims)
    return multiply(_spread(g, np.shape(x), axis, keepdims), share)


def _extreme_jvp(t: Any, z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """The mean of the tangents of the elements that attain the extreme."""
    return sum(multiply(t, _extreme_share(z, x, axis, keepdims)), axis, keepdims)


_max = Primitive(
    "max",
    lambda x, *, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims),
    shapes.reduced,
    [_extreme_vjp],
    jvp=[_extreme_jvp],
)
_min = Primitive(
    "min",
    lambda x, *, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims),
    shapes.reduced,
    [_extreme_vjp],
    jvp=[_extreme_jvp],
)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Maximum over ``axis``; at ties the cotangent is split evenly."""
    return _max(x, axis=_static(axis), keepdims=keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Minimum over ``axis``; at ties the cotangent is split evenly."""
    return _min(x, axis=_static(axis), keepdims=keepdims)


_argmax = Primitive(
    "argmax",
    lambda x, *, axis: np.argmax(x, axis=axis),
    lambda x, *, axis: shapes.reduced(x, axis=axis),
    constant=True,
)


def argmax(x: Any, axis: int | None = None) -> Any:
    """Index of the maximum (of the first at ties), a plain array."""
    return _argmax(x, axis=axis)


def _static(axis: Any) -> Axis:
    """An axis argument as a parameter that can be compared and hashed."""
    if axis is None or isinstance(axis, int):
        return axis
    if hasattr(axis, "__index__"):
        return int(axis)
    return tuple(int(a) for a in axis)


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Sum over the axes along which ``shape`` was broadcast to the shape of ``x``."""
    have = np.shape(x)
    lead = len(have) - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + i for i, n in enumerate(shape) if n == 1 and have[lead + i] != 1
    )
    total = sum(x, axis=axes) if axes else x
    return total if np.shape(total) == shape else reshape(total, shape)
