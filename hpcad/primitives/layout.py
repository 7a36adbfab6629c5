"""Primitives that move elements and do not change them: each is linear, its VJP its adjoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from hpcad.autodiff.primitive import Primitive
from hpcad.errors import ShapeError
from hpcad.primitives import shapes

Shape = tuple[int, ...]

# -- reshape ------------------------------------------------------------------------------

_reshape = Primitive(
    "reshape",
    lambda x, *, shape, before: np.reshape(x, shape),
    lambda x, *, shape, before: shape,
    [lambda g, _z, _x, shape, before: reshape(g, before)],
    jvp="linear",
)


def reshape(x: Any, shape: int | Sequence[int]) -> Any:
    """Give ``x`` another shape; one length may be -1."""
    before = tuple(np.shape(x))
    wanted = shapes.several(shape)
    if -1 in wanted:
        known = -math.prod(wanted)
        fill = math.prod(before) // known if known else 0
        wanted = tuple(fill if n == -1 else n for n in wanted)
    return _reshape(x, shape=wanted, before=before)


def expand_dims(x: Any, axis: int | Sequence[int]) -> Any:
    """Insert axes of length 1 at the given places of the answer."""
    shape = list(np.shape(x))
    wanted = shapes.several(axis)
    for place in sorted(normalize_axis_tuple(wanted, len(shape) + len(wanted))):
        shape.insert(place, 1)
    return reshape(x, shape)


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Remove the given axes, which must have length 1 (all such axes by default)."""
    shape = tuple(np.shape(x))
    if axis is None:
        return reshape(x, tuple(n for n in shape if n != 1))
    axes = normalize_axis_tuple(axis, len(shape))
    if any(shape[a] != 1 for a in axes):
        raise ShapeError(
            f"squeeze: axes {axes} of shape {shape} do not all have length 1; "
            "sum or index an axis that is longer"
        )
    return reshape(x, tuple(n for a, n in enumerate(shape) if a not in axes))


# -- transpose ----------------------------------------------------------------------------


def _permuted(shape: Shape, *, axes: tuple[int, ...]) -> Shape:
    return tuple(shape[a] for a in axes)


_transpose = Primitive(
    "transpose",
    lambda x, *, axes: np.transpose(x, axes),
    _permuted,
    [lambda g, _z, _x, axes: transpose(g, tuple(int(i) for i in np.argsort(axes)))],
    jvp="linear",
)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Permute the axes (reverse them by default)."""
    ndim = len(np.shape(x))
    order = tuple(reversed(range(ndim))) if axes is None else normalize_axis_tuple(axes, ndim)
    return _transpose(x, axes=order)


def matrix_transpose(x: Any) -> Any:
    """Swap the last two axes."""
    ndim = len(np.shape(x))
    return transpose(x, (*range(ndim - 2), ndim - 1, ndim - 2))


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Move axes to new places; the others keep their order."""
    ndim = len(np.shape(x))
    start = normalize_axis_tuple(source, ndim, "source")
    end = normalize_axis_tuple(destination, ndim, "destination")
    if len(start) != len(end):
        raise ShapeError(
            f"moveaxis: {len(start)} axes to move, but {len(end)} places to move them to"
        )
    order = [a for a in range(ndim) if a not in start]
    for place, axis in sorted(zip(end, start, strict=True)):
        order.insert(place, axis)
    return transpose(x, order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Exchange two axes."""
    order = list(range(len(np.shape(x))))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, order)


# -- flip and roll ------------------------------------------------------------------------

_flip = Primitive(
    "flip",
    lambda x, *, axes: np.flip(x, axes),
    shapes.same,
    [lambda g, _z, _x, axes: _flip(g, axes=axes)],
    jvp="linear",
)


def flip(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Reverse the order along the given axes (all by default); its own adjoint."""
    return _flip(x, axes=shapes.axes_of(axis, len(np.shape(x))))


_roll = Primitive(
    "roll",
    lambda x, *, shift, axes: np.roll(x, shift, axes),
    shapes.same,
    [lambda g, _z, _x, shift, axes: _roll(g, shift=tuple(-s for s in shift), axes=axes)],
    jvp="linear",
)


def roll(x: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Any:
    """Shift along the given axes, what leaves at one end entering at the other.

    Without ``axis`` the flattened array is rolled. The adjoint rolls back.
    """
    shape = tuple(np.shape(x))
    if axis is None:
        flat = reshape(x, math.prod(shape))
        return reshape(roll(flat, int(np.sum(shift)), 0), shape)
    axes, shifts = shapes.several(axis), shapes.several(shift)
    if len(shifts) == 1:
        shifts *= len(axes)
    if len(axes) == 1:
        axes *= len(shifts)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes; give one for each")
    axes = tuple(normalize_axis_index(a, len(shape)) for a in axes)
    return _roll(x, shift=shifts, axes=axes)
