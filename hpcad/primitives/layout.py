"""Primitives that move elements and do not change them: each is linear, its VJP its adjoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of
from hpcad.errors import ShapeError

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
    wanted = (shape,) if isinstance(shape, int) else tuple(shape)
    if -1 in wanted:
        known = -math.prod(wanted)
        fill = math.prod(before) // known if known else 0
        wanted = tuple(fill if n == -1 else n for n in wanted)
    return _reshape(x, shape=wanted, before=before)


def expand_dims(x: Any, axis: int) -> Any:
    """Insert an axis of length 1."""
    shape = list(np.shape(x))
    shape.insert(normalize_axis_index(axis, len(shape) + 1), 1)
    return reshape(x, shape)


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


# -- indexing -----------------------------------------------------------------------------


def _advanced(index: Any) -> bool:
    """Whether an index may name an element twice: anything but numbers, slices, None and ..."""
    parts = index if isinstance(index, tuple) else (index,)
    return not all(p is None or p is ... or isinstance(p, (int, slice)) for p in parts)


def _indexed_shape(shape: Shape, *, index: Any, before: Shape) -> Shape:
    return np.empty(shape, np.bool_)[index].shape


def _scatter(g: Any, *, index: Any, before: Shape) -> Any:
    out = backend_of(g).zeros(before, g.dtype)
    if _advanced(index):
        np.add.at(out, index, g)
    else:
        out[index] = g
    return out


_getitem = Primitive(
    "getitem",
    lambda x, *, index, before: x[index],
    _indexed_shape,
    [lambda g, _z, _x, index, before: scatter(g, index=index, before=before)],
    jvp="linear",
)
scatter = Primitive(
    "scatter",  # the adjoint of getitem: zeros with g added at the index
    _scatter,
    lambda g, *, index, before: before,
    [lambda g, _z, _x, index, before: _getitem(g, index=index, before=before)],
    jvp="linear",
)


def getitem(x: Any, index: Any) -> Any:
    """``x[index]``; repeated indices accumulate in the VJP. The index is not differentiated."""
    parts = index if isinstance(index, tuple) else (index,)
    plain = tuple(value_of(p) for p in parts)
    return _getitem(x, index=plain, before=tuple(np.shape(x)))


# -- joining and splitting ----------------------------------------------------------------


def _joined(*given: Shape, axis: int, sizes: tuple[int, ...]) -> Shape:
    first = list(given[0])
    first[axis] = int(np.sum(sizes))
    return tuple(first)


def _concatenate_vjp(
    needs: tuple[bool, ...], g: Any, _z: Any, _saved: Any, *_xs: Any, axis: int, sizes: Any
) -> list[Any]:
    ends = [int(e) for e in np.cumsum(sizes)]
    lead = (slice(None),) * axis
    return [
        getitem(g, (*lead, slice(end - size, end))) if needed else None
        for needed, size, end in zip(needs, sizes, ends, strict=True)
    ]


_concatenate = Primitive(
    "concatenate",
    lambda *xs, axis, sizes: np.concatenate(xs, axis=axis),
    _joined,
    joint=_concatenate_vjp,
    jvp="jointly linear",
)


def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays along an existing axis."""
    if len(xs) == 0:
        raise ShapeError("concatenate and stack need at least one array")
    axis = normalize_axis_index(axis, len(np.shape(xs[0])))
    return _concatenate(*xs, axis=axis, sizes=tuple(np.shape(x)[axis] for x in xs))


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays along a new axis."""
    return concatenate([expand_dims(x, axis) for x in xs], axis)


def _unstack(x: Any, *, axis: int, shape: Shape) -> tuple[Any, ...]:
    lead = (slice(None),) * axis
    return tuple(x[(*lead, i)] for i in range(x.shape[axis]))


def _unstack_vjp(
    _needs: Any, gs: Any, _zs: Any, _saved: Any, _x: Any, axis: int, shape: Shape
) -> list[Any]:
    known = next(g for g in gs if g is not None)
    zero = np.zeros_like(value_of(known))
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
    shape = tuple(np.shape(x))
    return _unstack_primitive(x, axis=normalize_axis_index(axis, len(shape)), shape=shape)


def _split_vjp(
    _needs: Any, gs: Any, _zs: Any, _saved: Any, _x: Any, sections: int, axis: int
) -> list[Any]:
    known = next(g for g in gs if g is not None)
    zero = np.zeros_like(value_of(known))
    return [concatenate([zero if g is None else g for g in gs], axis)]


_split = Primitive(
    "split",
    lambda x, *, sections, axis: tuple(np.split(x, sections, axis)),
    lambda x, *, sections, axis: ((*x[:axis], x[axis] // sections, *x[axis + 1 :]),) * sections,
    joint=_split_vjp,
    jvp="linear",
    outputs=True,
)


def split(x: Any, sections: int, axis: int = 0) -> tuple[Any, ...]:
    """Cut into equal parts along ``axis``; the adjoint of :func:`concatenate`."""
    return _split(x, sections=sections, axis=normalize_axis_index(axis, len(np.shape(x))))


# -- rows by index ------------------------------------------------------------------------


def _add_rows(g: Any, index: Any, *, rows: int) -> Any:
    trailing = g.shape[index.ndim :]
    out = backend_of(g).zeros((rows, *trailing), g.dtype)
    backend_of(g).scatter_add_rows(out, index.ravel(), g.reshape(index.size, *trailing))
    return out


def _take_rows_into(out: Any, beta: float, g: Any, _z: Any, _table: Any, index: Any) -> None:
    if beta == 0.0:
        out[...] = 0
    backend_of(g).scatter_add_rows(out, index.ravel(), g.reshape(index.size, *out.shape[1:]))


def _take_rows_vjp(g: Any, _z: Any, table: Any, index: Any) -> Any:
    return add_rows(g, index, rows=np.shape(table)[0])


take_rows = Primitive(
    "take_rows",  # table[index]: an embedding
    lambda table, index: np.take(table, index, axis=0),
    lambda table, index: (*index, *table[1:]),
    [_take_rows_vjp, None],
    jvp=["linear", None],
    into={0: _take_rows_into},
)
add_rows = Primitive(
    "add_rows",  # the adjoint of take_rows
    _add_rows,
    lambda g, index, *, rows: (rows, *g[len(index) :]),
    [lambda g, _z, _x, index, rows: take_rows(g, index), None],
    jvp=["linear", None],
)
