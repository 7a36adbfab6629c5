"""Functions that move elements and change shapes. All are linear: differentiable, any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from hpcad.autodiff.tensor import value_of
from hpcad.errors import ShapeError
from hpcad.primitives import elementwise, layout, reduction
from hpcad.primitives.layout import flip, moveaxis, swapaxes
from hpcad.primitives.repetition import repeat, tile
from hpcad.primitives.shapes import as_array, several

Axes = int | Sequence[int]

__all__: list[str] = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "moveaxis",
    "permute_dims",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "rollaxis",
    "rot90",
    "squeeze",
    "swapaxes",
    "tile",
    "transpose",
]


def broadcast_to(x: Any, /, shape: int | Sequence[int]) -> Any:
    """Repeat ``x`` along new axes and along those of length 1. VJP: sum over them."""
    return reduction.broadcast_to(as_array(x), several(shape))


def broadcast_shapes(*shapes: int | Sequence[int]) -> tuple[int, ...]:
    """Return the shape to which arrays of the given shapes are broadcast."""
    return np.broadcast_shapes(*shapes)


def broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    """Broadcast arrays against one another; each keeps its dtype."""
    parts = [as_array(x) for x in arrays]
    shape = np.broadcast_shapes(*(np.shape(x) for x in parts))
    return tuple(reduction.broadcast_to(x, shape) for x in parts)


def reshape(x: Any, /, shape: int | Sequence[int], *, copy: bool | None = None) -> Any:
    """Give ``x`` another shape; one length may be -1.

    Parameters
    ----------
    x : array
    shape : int or tuple of int
    copy : bool, optional
        True: always copy; False: raise where a view is not possible.
    """
    x = as_array(x)
    answer = layout.reshape(x, shape)
    if copy:
        return elementwise.cast(answer, dtype=answer.dtype)
    if copy is False and not np.may_share_memory(value_of(answer), value_of(x)) and answer.size:
        raise ShapeError(
            f"reshape: an array of shape {tuple(x.shape)} with its strides cannot be viewed with "
            f"shape {tuple(answer.shape)}; leave copy=False out"
        )
    return answer


def ravel(x: Any, /) -> Any:
    """Flatten in row-major order."""
    return layout.reshape(as_array(x), (-1,))


def expand_dims(x: Any, /, axis: Axes) -> Any:
    """Insert axes of length 1 at the given places of the answer."""
    return layout.expand_dims(as_array(x), axis)


def squeeze(x: Any, /, axis: Axes | None = None) -> Any:
    """Remove the given axes, which must have length 1 (all such axes by default)."""
    return layout.squeeze(as_array(x), axis)


def permute_dims(x: Any, /, axes: Sequence[int] | None = None) -> Any:
    """Permute the axes: axis ``i`` of the answer is axis ``axes[i]`` of ``x``."""
    return layout.transpose(as_array(x), axes)


transpose = permute_dims


def rollaxis(x: Any, /, axis: int, start: int = 0) -> Any:
    """Move an axis backwards until it lies before the axis ``start``."""
    ndim = len(np.shape(x))
    axis = normalize_axis_index(axis, ndim)
    start = normalize_axis_index(start + ndim if start < 0 else start, ndim + 1)
    return moveaxis(x, axis, start - 1 if axis < start else start)


def roll(x: Any, /, shift: Axes, axis: Axes | None = None) -> Any:
    """Shift elements along the given axes; what leaves at one end enters at the other.

    Parameters
    ----------
    x : array
    shift : int or tuple of int
        Places to move, towards higher indices.
    axis : int or tuple of int, optional
        One for each shift; the flattened array is rolled when it is left out.
    """
    return layout.roll(as_array(x), shift, axis)


def fliplr(x: Any, /) -> Any:
    """Reverse the order along axis 1."""
    return flip(x, 1)


def flipud(x: Any, /) -> Any:
    """Reverse the order along axis 0."""
    return flip(x, 0)


def rot90(x: Any, /, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Rotate by ``k`` quarter turns in a plane, from the first of the axes to the second."""
    first, second = (normalize_axis_index(a, len(np.shape(x))) for a in axes)
    if first == second:
        raise ShapeError(f"rot90 needs two different axes, not {axes}")
    if k % 4 == 0:
        return as_array(x)
    if k % 4 == 1:
        return swapaxes(flip(x, second), first, second)
    if k % 4 == 2:
        return flip(x, (first, second))
    return flip(swapaxes(x, first, second), second)


def _at_least(x: Any, ndim: int) -> Any:
    x = as_array(x)
    missing = ndim - len(x.shape)
    return layout.reshape(x, (1,) * missing + tuple(x.shape)) if missing > 0 else x


def _each(arrays: Sequence[Any], deepen: Any) -> Any:
    """One answer for one array, a tuple for several."""
    answers = tuple(deepen(x) for x in arrays)
    return answers[0] if len(answers) == 1 else answers


def atleast_1d(*arrays: Any) -> Any:
    """View numbers as arrays of shape (1,)."""
    return _each(arrays, lambda x: _at_least(x, 1))


def atleast_2d(*arrays: Any) -> Any:
    """Insert leading axes until there are two."""
    return _each(arrays, lambda x: _at_least(x, 2))


def atleast_3d(*arrays: Any) -> Any:
    """Insert axes until there are three: a vector of length n becomes (1, n, 1)."""

    def deepen(x: Any) -> Any:
        x = _at_least(x, 2)
        return layout.expand_dims(x, 2) if len(x.shape) == 2 else x

    return _each(arrays, deepen)
