"""Item assignment that differentiates.

``x[index] = v`` rebinds the tensor ``x`` to the answer of :data:`index_set`, a primitive like any
other. Whoever holds the old value keeps it, so no derivative can be wrong. A copy per assignment
would make a loop that fills an array quadratic; where nothing but ``x`` holds the old array, it is
written in place. The same holds in the backward pass, for the cotangent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import Tensor, rebind, value_of
from hpcad.backend import backend_of
from hpcad.errors import ShapeError
from hpcad.primitives.creation import nested
from hpcad.primitives.elementwise import cast, multiply
from hpcad.primitives.indexing import (
    Index,
    Shape,
    getitem,
    indexed_shape,
    is_tracked,
    may_repeat,
    on_host,
    plain_index,
)
from hpcad.primitives.ownership import granting, is_fresh, is_granted, references

# -- the primitive ------------------------------------------------------------------------


def _index_set(x: Any, v: Any, *, index: Index, before: Shape) -> Any:
    backend = backend_of(x)
    out = x if is_granted(x) else backend.xp.array(x)
    if backend.on_device and may_repeat(index) and getattr(v, "size", 1) > 1:
        v = _of_last_writers(v, index, before, backend.xp)
    out[index] = v
    return out


def _of_last_writers(v: Any, index: Index, before: Shape, xp: Any) -> Any:
    """Values of which those for one element are all equal to the last.

    Of different ones, a device stores any.
    """
    last = xp.full(before, -1, np.int32)
    shape = last[index].shape
    order = xp.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    xp.maximum.at(last, index, order)
    values = xp.broadcast_to(v.reshape(v.shape[max(0, v.ndim - len(shape)) :]), shape)
    return values.reshape(-1)[last[index]]


def _index_set_vjp(
    needs: Sequence[bool], g: Any, _z: Any, _saved: Any, _x: Any, _v: Any, index: Index, before: Any
) -> list[Any]:
    """For ``x`` zero where it was overwritten; for ``v`` the cotangents of the last writers."""
    part = None
    if needs[1]:
        part = getitem(g, index)
        if may_repeat(index):
            last = _last_writers(index=index, before=before)
            if not isinstance(last, Tensor):
                last = backend_of(value_of(g)).asarray(last)
            part = multiply(part, last)
    if not needs[0]:
        return [None, part]
    if isinstance(g, Tensor):
        return [index_set(g, 0, index=index, before=before), part]
    if isinstance(part, np.ndarray) and part.base is not None:
        part = part.copy()  # g is overwritten below
    count = references(g)  # on a line of its own: an argument beside it would count, too
    if not is_fresh(g, count):
        g = backend_of(g).xp.array(g)
    g[index] = 0
    return [g, part]


def _last_of(*, index: Index, before: Shape) -> Any:
    """1 for each element of the value that is still there after the assignment, else 0."""
    index = on_host(index)
    shape = indexed_shape(before, index=index, before=before)
    order = np.arange(int(np.prod(shape))).reshape(shape)
    last = np.empty(before, order.dtype)
    last[index] = order
    return (last[index] == order).astype(np.int8)


_last_writers = Primitive(
    "last_writers",
    _last_of,
    lambda *, index, before: indexed_shape(before, index=index, before=before),
    constant=True,
    register=False,
)


def _index_set_jvp(
    ts: Sequence[Any], _z: Any, _saved: Any, _x: Any, _v: Any, index: Index, before: Any
) -> Any:
    t, tv = ts
    if tv is None:
        tv = 0
    if t is None:
        plain = value_of(tv)
        t = backend_of(plain).zeros(before, plain.dtype)
    return index_set(t, tv, index=index, before=before)


index_set = Primitive(
    "index_set",  # x with v at the index; of repeated indices the last one counts
    _index_set,
    lambda x, _v, *, index, before: x,
    joint=_index_set_vjp,
    joint_jvp=_index_set_jvp,
)


# -- assignment ---------------------------------------------------------------------------


def assign(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value``: ``x`` stands for the new value from here on.

    Parameters
    ----------
    x : Tensor
        Of any level; it becomes a tensor of the level of ``value`` if that is higher.
    index : index
        As in NumPy. Of repeated indices the last one counts.
    value : array or number
        Broadcast to the shape of ``x[index]`` and cast to the dtype of ``x``.

    Raises
    ------
    TypeError
        ``x`` is a parameter, or cannot hold the value: a complex number in a real tensor, or a
        tracked one in a tensor of integers.
    ShapeError
        The value does not fit the index.
    """
    if isinstance(x, Parameter):
        raise TypeError(
            f"parameter {x.name!r} cannot be changed by item assignment; use "
            "parameter.assign(values)"
        )
    prepared = plain_index(index, is_tracked(x) or is_tracked(value))
    fitted = _fitted(x, value, prepared)
    with granting(x):
        result = index_set(x, fitted, index=prepared, before=tuple(x.shape))
    rebind(x, result)


def at_set(x: Any, value: Any, index: Index) -> Any:
    """``x`` with ``value`` at a prepared index, as another tensor."""
    return index_set(x, _fitted(x, value, index), index=index, before=tuple(np.shape(x)))


def _fitted(x: Any, value: Any, index: Index) -> Any:
    """Check that ``x`` can hold the value, and drop leading axes as NumPy does."""
    kind = getattr(value, "dtype", None)
    if kind is None:
        if isinstance(value, (list, tuple)):
            value = nested(value)
        kind = np.result_type(value)
    if kind.kind == "c" and x.dtype.kind != "c":
        raise TypeError(
            f"a tensor of dtype {x.dtype} cannot hold complex numbers; assign the real part, or "
            "make the tensor complex first"
        )
    if not is_tracked(value):
        return value
    if x.dtype.kind not in "fc":
        raise TypeError(
            f"a tensor of dtype {x.dtype} cannot hold a value that is differentiated, because "
            "the derivative would be lost; make it floating point first, or assign "
            "value.detach()"
        )
    shape = np.shape(value)
    if shape:
        extra = len(shape) - len(indexed_shape(x.shape, index=index, before=x.shape))
        if extra > 0 and all(n == 1 for n in shape[:extra]):
            value = getitem(value, (0,) * extra)
    return value


# -- in-place operators -------------------------------------------------------------------


def augmented(operation: Any) -> Any:
    """The method of ``x += y`` and its like, from the operation."""

    def method(self: Tensor, other: Any, /) -> Tensor:
        if isinstance(self, Parameter):
            self._refuse_in_place(other)
        result = operation(self, other)
        if not self.shape and not getattr(self, "in_place", False):
            return result  # a number: the name gets another one
        if result.shape != self.shape:
            raise ShapeError(
                f"an in-place operator cannot change the shape {tuple(self.shape)} of a tensor "
                f"to {tuple(result.shape)}; use x = x + y instead of x += y"
            )
        if result.dtype != self.dtype:
            if not np.can_cast(result.dtype, self.dtype, "same_kind"):
                raise TypeError(
                    f"an in-place operator cannot put numbers of dtype {result.dtype} into a "
                    f"tensor of dtype {self.dtype}; use x = x + y instead of x += y"
                )
            result = cast(result, dtype=self.dtype)
        rebind(self, result)
        return self

    return method
