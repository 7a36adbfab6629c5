"""Functions that join arrays and take them apart. Linear: differentiable in every array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import known
from hpcad.errors import ShapeError
from hpcad.numpy.manipulation import atleast_1d, atleast_2d, atleast_3d
from hpcad.primitives import joining, layout
from hpcad.primitives.elementwise import cast
from hpcad.primitives.joining import array_split, split
from hpcad.primitives.reduction import broadcast_to
from hpcad.primitives.repetition import take
from hpcad.primitives.shapes import as_array

__all__: list[str] = [
    "append",
    "array_split",
    "block",
    "column_stack",
    "concat",
    "concatenate",
    "delete",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "insert",
    "split",
    "stack",
    "unstack",
    "vsplit",
    "vstack",
]


def concat(arrays: Sequence[Any], /, axis: int | None = 0) -> Any:
    """Join arrays along an existing axis; with ``axis=None`` flattened ones.

    Parameters
    ----------
    arrays : sequence of arrays
        Of equal shapes but for ``axis``; dtypes are promoted.
    axis : int or None
    """
    return joining.concatenate(arrays, axis)


concatenate = concat


def stack(arrays: Sequence[Any], /, axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis of the answer."""
    return joining.stack(arrays, axis)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """Return the slices along ``axis``."""
    return joining.unstack(x, axis)


def _parts(arrays: Any, deepen: Any) -> list[Any]:
    parts = joining.unstack(arrays) if hasattr(arrays, "dtype") else arrays
    return [deepen(x) for x in parts]


def hstack(arrays: Sequence[Any], /) -> Any:
    """Join along axis 1 (vectors along axis 0)."""
    parts = _parts(arrays, atleast_1d)
    return joining.concatenate(parts, 0 if parts and np.shape(parts[0])[1:] == () else 1)


def vstack(arrays: Sequence[Any], /) -> Any:
    """Join along axis 0; vectors are rows."""
    return joining.concatenate(_parts(arrays, atleast_2d), 0)


def dstack(arrays: Sequence[Any], /) -> Any:
    """Join along axis 2."""
    return joining.concatenate(_parts(arrays, atleast_3d), 2)


def column_stack(arrays: Sequence[Any], /) -> Any:
    """Join along axis 1; vectors are columns."""

    def deepen(x: Any) -> Any:
        x = atleast_1d(x)
        return layout.expand_dims(x, 1) if len(x.shape) == 1 else x

    return joining.concatenate(_parts(arrays, deepen), 1)


def block(arrays: Any, /) -> Any:
    """Join nested lists of blocks: the innermost lists along the last axis, and so on outwards."""
    depth, ndim = _depth(arrays), _largest(arrays)
    ndim = ndim if ndim > depth else depth

    def join(part: Any, level: int) -> Any:
        if level == depth:
            x = as_array(part)
            return layout.reshape(x, (1,) * (ndim - len(x.shape)) + tuple(x.shape))
        return joining.concatenate([join(p, level + 1) for p in part], ndim - depth + level)

    return join(arrays, 0)


def _depth(part: Any) -> int:
    if not isinstance(part, list):
        return 0
    depths = {_depth(p) for p in part}
    if len(depths) != 1:
        raise ShapeError("block needs lists that are nested equally deep and not empty")
    return 1 + depths.pop()


def _places(obj: Any) -> Any:
    return known(obj) if hasattr(obj, "dtype") else obj


def _largest(part: Any) -> int:
    return max(map(_largest, part)) if isinstance(part, list) else len(np.shape(part))


def hsplit(x: Any, /, indices_or_sections: int | Sequence[int]) -> tuple[Any, ...]:
    """Cut along axis 1 (a vector along axis 0); see :func:`split`."""
    return split(x, indices_or_sections, 0 if len(np.shape(x)) == 1 else 1)


def vsplit(x: Any, /, indices_or_sections: int | Sequence[int]) -> tuple[Any, ...]:
    """Cut along axis 0; see :func:`split`."""
    return split(atleast_2d(x), indices_or_sections, 0)


def dsplit(x: Any, /, indices_or_sections: int | Sequence[int]) -> tuple[Any, ...]:
    """Cut along axis 2; see :func:`split`."""
    return split(x, indices_or_sections, 2)


# -- at places that are known -------------------------------------------------------------


def append(x: Any, /, values: Any, axis: int | None = None) -> Any:
    """Put ``values`` behind ``x`` (both flattened without ``axis``)."""
    return joining.concatenate([x, values], axis)


def delete(x: Any, /, obj: Any, axis: int | None = None) -> Any:
    """Leave out the slices at ``obj`` (a number, slice or array; of the flattened array)."""
    x, axis = _along(x, axis)
    return take(x, np.delete(np.arange(x.shape[axis]), _places(obj)), axis)


def insert(x: Any, /, obj: Any, values: Any, axis: int | None = None) -> Any:
    """Put ``values`` before the slices at ``obj``, as :func:`numpy.insert` does.

    Differentiable in ``x`` and ``values``; the places are constants.
    """
    x, axis = _along(x, axis)
    values = cast(as_array(values, beside=x), dtype=x.dtype)
    missing = len(x.shape) - len(values.shape)
    values = layout.reshape(values, (1,) * missing + tuple(values.shape)) if missing > 0 else values
    if np.ndim(obj) == 0 and not isinstance(obj, slice):
        values = layout.moveaxis(values, 0, axis)
    length = x.shape[axis]
    place = np.arange(length)[obj] if isinstance(obj, slice) else np.asarray(obj)
    count = values.shape[axis] if place.size == 1 else place.size
    values = broadcast_to(values, (*x.shape[:axis], count, *x.shape[axis + 1 :]))
    order = np.insert(np.arange(length), place, np.arange(length, length + count))
    return take(joining.concatenate([x, values], axis), order, axis)


def _along(x: Any, axis: int | None) -> tuple[Any, int]:
    x = as_array(x)
    if axis is None:
        return layout.reshape(x, (-1,)), 0
    return x, axis % len(x.shape)
