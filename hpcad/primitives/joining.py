"""Joining and splitting: each linear, the two adjoint to one another."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of
from hpcad.errors import ShapeError
from hpcad.primitives import shapes
from hpcad.primitives.indexing import getitem
from hpcad.primitives.layout import expand_dims, reshape
from hpcad.primitives.shapes import Shape


def _zeros(like: Any, shape: Shape) -> Any:
    value = value_of(like)
    return backend_of(value).zeros(shape, value.dtype)


# -- concatenate --------------------------------------------------------------------------


def _joined(*given: Shape, axis: int, before: tuple[int, ...]) -> Shape:
    first = list(given[0])
    first[axis] = int(np.sum(before))
    return tuple(first)


def _concatenate_vjp(
    needs: tuple[bool, ...], g: Any, _z: Any, _saved: Any, *_xs: Any, axis: int, before: Any
) -> list[Any]:
    ends = [int(e) for e in np.cumsum(before)]
    lead = (slice(None),) * axis
    return [
        getitem(g, (*lead, slice(end - size, end))) if needed else None
        for needed, size, end in zip(needs, before, ends, strict=True)
    ]


_concatenate = Primitive(
    "concatenate",
    lambda *xs, axis, before: np.concatenate(xs, axis=axis),
    _joined,
    joint=_concatenate_vjp,
    jvp="jointly linear",
)


def concatenate(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """Join arrays along an existing axis (flattened ones, where ``axis`` is None)."""
    parts = _several(xs)
    if axis is None:
        parts, axis = [reshape(x, (-1,)) for x in parts], 0
    axis = normalize_axis_index(axis, len(np.shape(parts[0])))
    # The lengths of the parts, for the rules.
    before = tuple(np.shape(x)[axis] if len(np.shape(x)) > axis else 0 for x in parts)
    return _concatenate(*parts, axis=axis, before=before)


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis."""
    parts = _several(xs)
    shape = np.shape(parts[0])
    odd = next((np.shape(x) for x in parts if np.shape(x) != shape), None)
    if odd is not None:
        raise ShapeError(f"stack needs arrays of one shape, but got {shape} and {odd}")
    return concatenate([expand_dims(x, axis) for x in parts], axis)


def _several(xs: Any) -> list[Any]:
    """Given as a sequence, or as the slices of one array along its first axis."""
    if hasattr(xs, "dtype"):
        parts = list(unstack(xs))
    else:
        first = next((x for x in xs if hasattr(x, "dtype")), None)
        parts = [shapes.as_array(x, beside=first) for x in xs]
    if not parts:
        raise ShapeError("concatenate and stack need at least one array")
    return parts


# -- unstack and split --------------------------------------------------------------------


def _unstack(x: Any, *, axis: int, shape: Shape) -> tuple[Any, ...]:
    lead = (slice(None),) * axis
    return tuple(x[(*lead, i)] for i in range(x.shape[axis]))


def _unstack_vjp(
    _needs: Any, gs: Any, _zs: Any, _saved: Any, _x: Any, axis: int, shape: Shape
) -> list[Any]:
    known = next(g for g in gs if g is not None)
    zero = _zeros(known, np.shape(known))
    return [stack([zero if g is None else g for g in gs], axis)]


_unstack_primitive = Primitive(
    "unstack",
    _unstack,
    lambda x, *, axis, shape: (x[:axis] + x[axis + 1 :],) * x[axis],
    joint=_unstack_vjp,
    jvp="linear",
    outputs=True,
)


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """Split into the slices along ``axis``; the adjoint of :func:`stack`."""
    x = shapes.as_array(x)
    shape = tuple(np.shape(x))
    return _unstack_primitive(x, axis=normalize_axis_index(axis, len(shape)), shape=shape)


def _pieces(x: Any, *, sizes: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    lead = (slice(None),) * axis
    ends = [int(e) for e in np.cumsum(sizes)]
    return tuple(x[(*lead, slice(end - size, end))] for size, end in zip(sizes, ends, strict=True))


def _pieces_shape(x: Shape, *, sizes: tuple[int, ...], axis: int) -> tuple[Shape, ...]:
    return tuple((*x[:axis], size, *x[axis + 1 :]) for size in sizes)


def _pieces_vjp(
    _needs: Any, gs: Any, _zs: Any, _saved: Any, _x: Any, sizes: tuple[int, ...], axis: int
) -> list[Any]:
    known = next(g for g in gs if g is not None)
    shape = np.shape(known)
    parts = [
        _zeros(known, (*shape[:axis], size, *shape[axis + 1 :])) if g is None else g
        for g, size in zip(gs, sizes, strict=True)
    ]
    return [concatenate(parts, axis)]


_split = Primitive("split", _pieces, _pieces_shape, joint=_pieces_vjp, jvp="linear", outputs=True)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> tuple[Any, ...]:
    """Cut along ``axis`` into equal parts, or before the given places.

    The adjoint of :func:`concatenate`.
    """
    if np.ndim(indices_or_sections):
        return _cut(x, indices_or_sections, axis)
    sections = operator.index(indices_or_sections)
    length = _length(x, axis)
    if sections < 1 or length % sections:
        raise ShapeError(
            f"split: an axis of length {length} cannot be cut into {sections} equal parts; "
            "array_split makes parts of nearly equal length"
        )
    return _divide(x, (length // sections,) * sections, axis)


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> tuple[Any, ...]:
    """As :func:`split`; parts may differ by one in length, the longer ones first."""
    if np.ndim(indices_or_sections):
        return _cut(x, indices_or_sections, axis)
    sections = operator.index(indices_or_sections)
    if sections < 1:
        raise ShapeError(f"array_split: the number of parts must be positive, not {sections}")
    least, longer = divmod(_length(x, axis), sections)
    return _divide(x, (least + 1,) * longer + (least,) * (sections - longer), axis)


def _cut(x: Any, places: Any, axis: int) -> tuple[Any, ...]:
    length = _length(x, axis)
    cuts = [0, *(slice(int(i)).indices(length)[1] for i in places), length]
    sizes = tuple(int(n) for n in np.diff(cuts))
    if any(n < 0 for n in sizes):
        raise ShapeError(f"split: the places {list(places)} are not in ascending order")
    return _divide(x, sizes, axis)


def _divide(x: Any, sizes: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    return _split(x, sizes=sizes, axis=normalize_axis_index(axis, len(np.shape(x))))


def _length(x: Any, axis: int) -> int:
    shape = np.shape(x)
    return shape[normalize_axis_index(axis, len(shape))]
