"""Primitives that pick elements by index, and their adjoints, which add them back.

The index is a parameter: it is never differentiated. A record must not see it change, so arrays
in it are copied when a tensor is tracked.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import CONSTANT, Tensor, peek, twin, value_of
from hpcad.backend import backend_of, to_host

Shape = tuple[int, ...]
Index = tuple[Any, ...]  # numbers, slices, None, ... and arrays


def plain_index(index: Any, snapshot: bool) -> Index:
    """The index as a tuple without tensors; with ``snapshot``, of arrays of our own."""
    if type(index) is int:
        return (index,)
    parts = index if isinstance(index, tuple) else (index,)
    return tuple([_plain_part(part, snapshot) for part in parts])


def _plain_part(part: Any, snapshot: bool) -> Any:
    if part is None or part is ... or type(part) is int:
        return part
    if isinstance(part, slice):
        return slice(*(_bound(b) for b in (part.start, part.stop, part.step)))
    if isinstance(part, Tensor):
        part = value_of(part)  # may be an array of the user
    if getattr(part, "shape", None) == () and part.dtype.kind in "iu":
        return operator.index(part)
    if not hasattr(part, "dtype"):
        part = np.asarray(part)
        part, snapshot = part if part.size else part.astype(np.intp), False
    if snapshot and STATE.capture is not None:  # which reads the user's arrays anew each time
        return twin(part) if isinstance(part, Tensor) else STATE.capture.outside(part)
    return part.copy() if snapshot else part


def _bound(bound: Any) -> int | None:
    return bound if bound is None else operator.index(bound)


def may_repeat(index: Index) -> bool:
    """Whether a prepared index could name an element twice: only integer arrays can."""
    return any(hasattr(part, "dtype") and part.dtype.kind in "iu" for part in index)


def on_host(index: Index) -> Index:
    """A prepared index with its arrays in host memory, to reason about places."""
    return tuple([to_host(part) if hasattr(part, "dtype") else part for part in index])


def is_tracked(x: Any) -> bool:
    return isinstance(x, Tensor) and x.level > CONSTANT


# -- elements -----------------------------------------------------------------------------


def indexed_shape(shape: Shape, *, index: Any, before: Shape) -> Shape:
    return np.broadcast_to(np.empty((), np.bool_), shape)[on_host(tuple(map(peek, index)))].shape


def _scatter(g: Any, *, index: Index, before: Shape) -> Any:
    out = backend_of(g).zeros(before, g.dtype)
    if may_repeat(index):
        backend_of(out).xp.add.at(out, index, g)
    else:
        out[index] = g
    return out


def _getitem_into(
    out: Any, beta: float, g: Any, _z: Any, _x: Any, index: Index, before: Shape
) -> None:
    if beta == 0.0:
        out[...] = 0
    if may_repeat(index):
        backend_of(out).xp.add.at(out, index, g)
    else:
        out[index] += g


_getitem = Primitive(
    "getitem",
    lambda x, *, index, before: x[index],
    indexed_shape,
    [lambda g, _z, _x, index, before: scatter(g, index=index, before=before)],
    jvp="linear",
    into={0: _getitem_into},
)
scatter = Primitive(
    "scatter",  # the adjoint of getitem: zeros with g added at the index
    _scatter,
    lambda g, *, index, before: before,
    [lambda g, _z, _x, index, before: _getitem(g, index=index, before=before)],
    jvp="linear",
)


def getitem(x: Any, index: Any) -> Any:
    """``x[index]``, a value and not a window: assigning to the result does not change ``x``.

    VJP: zeros with the cotangent added at the index; repeated indices accumulate.
    """
    return _getitem(x, index=plain_index(index, is_tracked(x)), before=tuple(np.shape(x)))


# -- rows ---------------------------------------------------------------------------------


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
