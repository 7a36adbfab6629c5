"""Running sums and products, the product of all, and the recurrence behind their derivatives.

Products are differentiated without division, so that zeros among the factors are no exception:
the product of the others is a product of those before and those behind, and a running product
leads to a linear recurrence. A cotangent of 0 stays 0 where a product has overflowed. Of plain
arrays in which nothing is 0 and nothing leaves the range, the product is divided by its factors,
which is several times faster; not so in nested derivatives, of which some are exactly 0 only
without division.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of
from hpcad.primitives import shapes
from hpcad.primitives.elementwise import divide, masked_multiply, multiply
from hpcad.primitives.indexing import getitem
from hpcad.primitives.joining import concatenate
from hpcad.primitives.layout import reshape, transpose
from hpcad.primitives.precision import in_single
from hpcad.primitives.reduction import Axis, spread, static, sum

# -- sums ---------------------------------------------------------------------------------


def _running(operation: Any) -> Any:
    """``operation`` along an axis, from either end."""

    def value(x: Any, *, axis: int, reverse: bool) -> Any:
        if not reverse:
            return operation(x, axis=axis)
        return np.flip(operation(np.flip(x, axis), axis=axis), axis)

    return value


cumsum = Primitive(
    "cumsum",
    in_single(_running(np.cumsum)),
    shapes.same,
    [lambda g, _z, _x, axis, reverse: cumsum(g, axis=axis, reverse=not reverse)],
    jvp="linear",
)

# -- the recurrence h_j = a_j h_(j-1) + b_j --------------------------------------------------


def _recurrence(a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    """By doubling: after the k-th pass, ``h_j`` has the terms of the 2^k places up to j."""
    kind = np.result_type(a, b)
    order = np.s_[::-1] if reverse else np.s_[:]
    factor = np.moveaxis(a, axis, 0)[order].astype(kind)  # copies
    h = np.moveaxis(b, axis, 0)[order].astype(kind)
    step = 1
    # The factors of places that nothing reaches may overflow; 0 times those is still 0.
    with np.errstate(over="ignore", invalid="ignore"):
        while step < len(h):
            h[step:] += np.where(h[:-step] == 0, 0, factor[step:] * h[:-step])
            factor[step:] *= factor[:-step].copy()
            step *= 2
    return np.moveaxis(h[order], 0, axis)


def _shifted(x: Any, axis: int, reverse: bool, fill: float) -> Any:
    """What stood one place earlier (later, for ``reverse``), and ``fill`` at the end."""
    shape = tuple(np.shape(x))
    if shape[axis] == 0:
        return x
    edge = backend_of(value_of(x)).xp.full((*shape[:axis], 1, *shape[axis + 1 :]), fill, x.dtype)
    lead = (slice(None),) * axis
    if reverse:
        return concatenate([getitem(x, (*lead, slice(1, None))), edge], axis)
    return concatenate([edge, getitem(x, (*lead, slice(None, -1)))], axis)


def _recurrence_b(g: Any, _h: Any, a: Any, _b: Any, axis: int, reverse: bool) -> Any:
    """The adjoint recurrence runs the other way: ``l_j = a_(j+1) l_(j+1) + g_j``."""
    return recurrence(_shifted(a, axis, not reverse, 0), g, axis=axis, reverse=not reverse)


def _recurrence_a(g: Any, h: Any, a: Any, _b: Any, axis: int, reverse: bool) -> Any:
    back = _recurrence_b(g, None, a, None, axis, reverse)
    return masked_multiply(back, _shifted(h, axis, reverse, 0))


def _recurrence_a_jvp(t: Any, h: Any, a: Any, _b: Any, axis: int, reverse: bool) -> Any:
    drive = masked_multiply(t, _shifted(h, axis, reverse, 0))
    return recurrence(a, drive, axis=axis, reverse=reverse)


recurrence = Primitive(
    "recurrence",
    _recurrence,
    shapes.same,
    [_recurrence_a, _recurrence_b],
    jvp=[_recurrence_a_jvp, "linear"],
)

# -- products -----------------------------------------------------------------------------


def _divisible(x: Any, axis: int) -> bool:
    """Whether products along the axis may be divided by their factors; of plain arrays only."""
    if isinstance(x, Tensor) or x.dtype.kind not in "fc" or x.size == 0:
        return False
    size = np.abs(x)
    limits = np.finfo(size.dtype)
    low, high = float(size.min()), float(size.max())
    if not (low > math.sqrt(limits.tiny) and high < math.sqrt(limits.max)):  # also if one is nan
        return False
    if x.shape[axis] * max(-math.log2(low), math.log2(high)) < -limits.minexp:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        partial = np.abs(np.cumprod(x, axis=axis))
    return bool(partial.min() >= limits.tiny and partial.max() <= limits.max)


def _cumprod_vjp(g: Any, z: Any, x: Any, axis: int, reverse: bool) -> Any:
    """What stands before j, times the sum over k >= j of ``g_k x_(j+1) ... x_k``."""
    if _divisible(x, axis):
        return divide(cumsum(multiply(g, z), axis=axis, reverse=not reverse), x)
    back = _recurrence_b(g, None, x, None, axis, reverse)
    return masked_multiply(back, _shifted(z, axis, reverse, 1))


def _cumprod_jvp(t: Any, z: Any, x: Any, axis: int, reverse: bool) -> Any:
    """``z_j = x_j z_(j-1)``, differentiated."""
    if _divisible(x, axis):
        return multiply(z, cumsum(divide(t, x), axis=axis, reverse=reverse))
    drive = masked_multiply(t, _shifted(z, axis, reverse, 1))
    return recurrence(x, drive, axis=axis, reverse=reverse)


cumprod = Primitive(
    "cumprod", in_single(_running(np.cumprod)), shapes.same, [_cumprod_vjp], jvp=[_cumprod_jvp]
)


def _of_the_others(x: Any, axis: Axis) -> Any:
    """For each element the product of the other ones with which it is multiplied."""
    shape = tuple(np.shape(x))
    axes = shapes.axes_of(axis, len(shape))
    order = (*(a for a in range(len(shape)) if a not in axes), *axes)
    kept = tuple(shape[a] for a in order[: len(shape) - len(axes)])
    flat = reshape(transpose(x, order), (*kept, math.prod(shape[a] for a in axes)))
    last = len(kept)
    if _divisible(flat, last):
        return divide(_prod(x, axis=axis, keepdims=True), x)
    before = _shifted(cumprod(flat, axis=last, reverse=False), last, False, 1)
    behind = _shifted(cumprod(flat, axis=last, reverse=True), last, True, 1)
    others = reshape(multiply(before, behind), tuple(shape[a] for a in order))
    return transpose(others, tuple(int(i) for i in np.argsort(order)))


def _prod_vjp(g: Any, _z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    wide = spread(g, tuple(np.shape(x)), axis, keepdims)
    return masked_multiply(wide, _of_the_others(x, axis))


def _prod_jvp(t: Any, _z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    return sum(masked_multiply(t, _of_the_others(x, axis)), axis, keepdims)


_prod = Primitive(
    "prod",
    in_single(lambda x, *, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims)),
    shapes.reduced,
    [_prod_vjp],
    jvp=[_prod_jvp],
)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Product over ``axis``; its derivatives are exact at zeros, too."""
    return _prod(shapes.as_array(x), axis=static(axis), keepdims=keepdims)
