"""Reductions and their adjoints, the broadcasts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import backend_of
from hpcad.backend.half import is_half, is_inexact
from hpcad.primitives import shapes
from hpcad.primitives.elementwise import cast, divide, multiply
from hpcad.primitives.layout import reshape
from hpcad.primitives.precision import in_single
from hpcad.primitives.shapes import as_array

Axis = int | tuple[int, ...] | None


def spread(g: Any, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Any:
    """Give every element that was reduced the cotangent of what it was reduced to."""
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
    in_single(lambda x, *, axis, keepdims, before: np.sum(x, axis=axis, keepdims=keepdims)),
    lambda x, *, axis, keepdims, before: shapes.reduced(x, axis=axis, keepdims=keepdims),
    [lambda g, _z, _x, axis, keepdims, before: spread(g, before, axis, keepdims)],
    jvp="linear",
)


def sum(x: Any, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Any:
    """Sum over ``axis`` (all axes by default). VJP: broadcast."""
    x = as_array(x)
    if dtype is not None:
        return in_dtype(lambda y: sum(y, axis, keepdims), x, dtype)
    return _sum(x, axis=static(axis), keepdims=keepdims, before=tuple(x.shape))


def mean(x: Any, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Any:
    """Arithmetic mean over ``axis``; of no elements it is nan."""
    x = as_array(x)
    if dtype is None and is_half(x.dtype):  # the sum could leave its range
        return cast(mean(x, axis, keepdims, dtype=np.float32), dtype=x.dtype)
    if dtype is None and not is_inexact(x.dtype):
        dtype = np.float64
    total = sum(x, axis, keepdims, dtype=dtype)
    count = count_of(x.shape, axis)
    # As a quotient, 0j / nan would be an invalid operation.
    return divide(total, count) if count else multiply(total, math.nan)


def in_dtype(reduce: Callable[[Any], Any], x: Any, dtype: Any) -> Any:
    """``reduce(x)`` computed and returned in ``dtype`` (that of the reduction for None)."""
    if dtype is None:
        return reduce(x)
    wanted = np.dtype(dtype)
    if x.dtype.kind == "c" and wanted.kind not in "cb":
        raise TypeError(
            f"cannot reduce complex numbers in {wanted}; take real(x), imag(x) or abs(x) first"
        )
    answer = reduce(x if x.dtype == wanted else cast(x, dtype=wanted))
    # Sums and products of small integers are promoted all the same.
    return answer if answer.dtype == wanted else cast(answer, dtype=wanted)


def count_of(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements are reduced to one."""
    return math.prod(shape[a] for a in shapes.axes_of(axis, len(shape)))


def static(axis: Any) -> Axis:
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


# -- tests and counts ---------------------------------------------------------------------


def _test(name: str, value: Any) -> Primitive:
    return Primitive(
        name,
        lambda x, *, axis, keepdims: value(x, axis=axis, keepdims=keepdims),
        shapes.reduced,
        constant=True,
    )


_all = _test("all", np.all)
_any = _test("any", np.any)
_count_nonzero = _test(
    "count_nonzero", lambda x, axis, keepdims: np.sum(x != 0, axis, np.intp, keepdims=keepdims)
)


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether every element is non-zero."""
    return _all(as_array(x), axis=static(axis), keepdims=keepdims)


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether some element is non-zero."""
    return _any(as_array(x), axis=static(axis), keepdims=keepdims)


def count_nonzero(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """How many elements are not zero."""
    return _count_nonzero(as_array(x), axis=static(axis), keepdims=keepdims)


def highest(x: Any, axis: Any, initial: float, keepdims: bool = False) -> Any:
    """Maxima of a plain array, and ``initial``, which no element is below, where there is none.

    CuPy's ``max`` takes no ``initial``.
    """
    backend = backend_of(x)
    if not backend.on_device:
        return np.max(x, axis=axis, keepdims=keepdims, initial=initial)
    if x.size == 0:
        shape = shapes.reduced(x.shape, axis=axis, keepdims=keepdims)
        return backend.xp.full(shape, initial, x.dtype)
    return x.max(axis=axis, keepdims=keepdims)
