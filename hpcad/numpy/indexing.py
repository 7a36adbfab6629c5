"""Functions that pick and place elements. The indices are constants; the arrays differentiate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from hpcad.autodiff.tensor import Tensor, known, value_of
from hpcad.errors import ShapeError
from hpcad.primitives.assignment import at_set
from hpcad.primitives.elementwise import where
from hpcad.primitives.indexing import getitem, is_tracked
from hpcad.primitives.layout import reshape

__all__ = [
    "choose",
    "compress",
    "extract",
    "put_along_axis",
    "select",
    "take",
    "take_along_axis",
]


def take(x: Any, indices: Any, /, axis: int | None = None) -> Any:
    """Return the elements at ``indices`` along an axis; the VJP accumulates repeated ones.

    Parameters
    ----------
    x : array
    indices : array of int
        Any shape, which takes the place of the axis; negative ones count from the end.
    axis : int, optional
        Left out, ``x`` is taken as one row.
    """
    x, indices = _array(x), _indices(indices)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = normalize_axis_index(axis, x.ndim)
    return getitem(x, (*(slice(None),) * axis, indices))


def take_along_axis(x: Any, indices: Any, /, axis: int | None = -1) -> Any:
    """Return elements by indices that are given separately for each row along an axis.

    Parameters
    ----------
    x : array
    indices : array of int
        Of the shape of ``x`` except along the axis (lengths of 1 are broadcast).
    axis : int, optional
        None: both are taken as one row.
    """
    x, indices = _array(x), _indices(indices)
    if axis is None:
        return getitem(reshape(x, (-1,)), (indices.ravel(),))
    return getitem(x, _along(x, indices, axis, "take_along_axis"))


def put_along_axis(x: Any, indices: Any, values: Any, /, axis: int | None) -> Any:
    """Return ``x`` with values placed by indices as in :func:`take_along_axis`.

    Unlike NumPy's function it leaves ``x`` as it is. It differentiates in ``x`` and in the values.
    """
    x, indices = _array(x), _indices(indices)
    if is_tracked(x) or is_tracked(values):
        indices = indices.copy()  # a record must not see it change
    if axis is None:
        flat = at_set(reshape(x, (-1,)), values, (indices.ravel(),))
        return reshape(flat, x.shape)
    return at_set(x, values, _along(x, indices, axis, "put_along_axis"))


def compress(condition: Any, x: Any, /, axis: int | None = None) -> Any:
    """Return the slices along an axis for which the condition (one row of booleans) is true."""
    return take(x, np.flatnonzero(known(condition)), axis=axis)


def extract(condition: Any, x: Any, /) -> Any:
    """Return the elements for which the condition (of the shape of ``x``) is true, in one row."""
    return take(x, np.flatnonzero(known(condition)))


def choose(a: Any, choices: Any, /) -> Any:
    """Return from each place the element of ``choices[a]`` there, everything broadcast."""
    a = Tensor(_indices(a)) if isinstance(a, Tensor) else _indices(a)
    if a.size and not (a.min() >= 0 and a.max() < len(choices)):
        raise ShapeError(
            f"choose: indices from {a.min()} to {a.max()} do not fit {len(choices)} choices"
        )
    result = choices[len(choices) - 1]
    for i in range(len(choices) - 2, -1, -1):
        result = where(a == i, choices[i], result)
    return where(a == a, result, result) if len(choices) == 1 or not np.shape(result) else result


def select(condlist: Sequence[Any], choicelist: Sequence[Any], /, default: Any = 0) -> Any:
    """Return from each place the element of the first choice whose condition is true there."""
    if len(condlist) != len(choicelist) or not condlist:
        raise ShapeError(
            f"select: {len(condlist)} conditions for {len(choicelist)} choices; give one for each"
        )
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = where(condition, choice, result)
    return result


def _array(x: Any) -> Any:
    return x if hasattr(x, "dtype") else np.asarray(x)


def _indices(indices: Any) -> Any:
    plain = value_of(indices)
    array = plain if hasattr(plain, "dtype") else np.asarray(plain)
    if array.dtype.kind not in "iu":
        if array.size:
            raise TypeError(f"indices must be integers, not {array.dtype}")
        array = array.astype(np.intp)
    return array


def _along(x: Any, indices: Any, axis: int, name: str) -> tuple[Any, ...]:
    """The index that :func:`take_along_axis` stands for."""
    axis = normalize_axis_index(axis, x.ndim)
    if indices.ndim != x.ndim:
        raise ShapeError(
            f"{name}: the indices of shape {indices.shape} need {x.ndim} axes, as the array of "
            f"shape {tuple(x.shape)} has"
        )
    parts = []
    for a in range(x.ndim):
        if a == axis:
            parts.append(indices)
        else:
            shape = [1] * x.ndim
            shape[a] = x.shape[a]
            parts.append(np.arange(x.shape[a]).reshape(shape))
    return tuple(parts)
