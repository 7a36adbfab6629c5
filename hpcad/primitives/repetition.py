"""Repeating and padding: linear, made of broadcasts, joins and gathers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import known, value_of
from hpcad.backend import backend_of
from hpcad.errors import ShapeError
from hpcad.primitives.indexing import getitem, take_rows
from hpcad.primitives.joining import concatenate
from hpcad.primitives.layout import moveaxis, reshape
from hpcad.primitives.reduction import broadcast_to
from hpcad.primitives.shapes import Shape, as_array, several

Widths = tuple[tuple[int, int], ...]


def take(x: Any, places: np.ndarray, axis: int) -> Any:
    """The slices at ``places`` along ``axis``; in the VJP those taken twice are added."""
    places = backend_of(value_of(x)).asarray(places)
    if axis == 0:
        return take_rows(x, places)
    return moveaxis(take_rows(moveaxis(x, axis, 0), places), 0, axis)


def repeat(x: Any, /, repeats: Any, axis: int | None = None) -> Any:
    """Repeat each element, or each slice along ``axis``.

    Parameters
    ----------
    x : array
        Flattened when ``axis`` is left out.
    repeats : int or integer array
        How often; one number for all, or one for each element along ``axis``.
    axis : int, optional

    Returns
    -------
    array
        VJP: the sum over the repetitions.
    """
    x = as_array(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = normalize_axis_index(axis, len(x.shape))
    count = known(repeats)
    if count.size != 1:
        return take(x, np.repeat(np.arange(x.shape[axis]), count), axis)
    head, tail, many = x.shape[: axis + 1], x.shape[axis + 1 :], int(count.ravel()[0])
    if many < 0:
        raise ShapeError(f"repeat: the number of repetitions cannot be negative, but is {many}")
    spread = broadcast_to(reshape(x, (*head, 1, *tail)), (*head, many, *tail))
    return reshape(spread, (*head[:-1], head[-1] * many, *tail))


def tile(x: Any, /, reps: int | Sequence[int]) -> Any:
    """Lay copies of ``x`` side by side, ``reps[i]`` of them along axis ``i``."""
    x = as_array(x)
    wanted = several(reps)
    ndim = max(len(wanted), len(x.shape))
    shape = (1,) * (ndim - len(x.shape)) + tuple(x.shape)
    wanted = (1,) * (ndim - len(wanted)) + wanted
    apart = tuple(n for size in shape for n in (1, size))
    spread = tuple(n for pair in zip(wanted, shape, strict=True) for n in pair)
    answer = tuple(times * size for times, size in zip(wanted, shape, strict=True))
    return reshape(broadcast_to(reshape(x, apart), spread), answer)


# -- padding ------------------------------------------------------------------------------


def _pad_vjp(g: Any, _z: Any, _x: Any, widths: Widths, before: Shape) -> Any:
    inside = tuple(slice(w[0], w[0] + n) for w, n in zip(widths, before, strict=True))
    return getitem(g, inside)


_pad_zeros = Primitive(
    "pad_zeros",
    lambda x, *, widths, before: np.pad(x, widths) if widths else x,
    lambda x, *, widths, before: tuple(n + a + b for n, (a, b) in zip(x, widths, strict=True)),
    [_pad_vjp],
    jvp="linear",
)


def pad_zeros(x: Any, widths: Widths) -> Any:
    """Put ``widths[i]`` zeros before and behind, along each axis."""
    return _pad_zeros(x, widths=widths, before=tuple(np.shape(x)))


def pad_values(x: Any, widths: Widths, values: Sequence[tuple[Any, Any]]) -> Any:
    """Put ``values[i]`` before and behind, axis by axis, so that later axes own the corners."""
    for axis, (pair, fill) in enumerate(zip(widths, values, strict=True)):
        parts = [x]
        for place, (width, value) in enumerate(zip(pair, fill, strict=True)):
            shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
            block = broadcast_to(as_array(value), shape)
            parts.insert(0 if place == 0 else len(parts), block)
        x = concatenate(parts, axis)
    return x


def pad_by_index(x: Any, widths: Widths, mode: Any) -> Any:
    """Put copies of elements outside; which ones is read off a padded range of indices."""
    for axis, pair in enumerate(widths):
        if pair != (0, 0):
            order = np.pad(np.arange(x.shape[axis]), pair, mode)
            x = take(x, order, axis)
    return x
