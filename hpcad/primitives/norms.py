"""The Euclidean norm, and p-norms made of primitives, with derivative 0 where they have a kink."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import value_of
from hpcad.primitives import shapes
from hpcad.primitives.elementwise import absolute, cast, equal, not_equal, power, where
from hpcad.primitives.extremes import max, min
from hpcad.primitives.matrices import conj, real
from hpcad.primitives.precision import in_single
from hpcad.primitives.reduction import Axis, count_of, spread, static, sum


def _euclidean(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    squares = x.real**2 + x.imag**2 if x.dtype.kind == "c" else x * x
    return np.sqrt(np.sum(squares, axis=axis, keepdims=keepdims))


def _per_norm(g: Any, z: Any) -> Any:
    """``g / z``, and 0 where the norm is 0."""
    vanishing = equal(z, 0)
    return where(vanishing, 0, g) / where(vanishing, 1, z)


def _euclidean_vjp(g: Any, z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    return spread(_per_norm(g, z), np.shape(x), axis, keepdims) * conj(x)


def _euclidean_jvp(t: Any, z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    return _per_norm(sum(real(conj(x) * t), axis, keepdims), z)


euclidean = Primitive(
    "euclidean_norm",
    in_single(_euclidean),
    shapes.reduced,
    [_euclidean_vjp],
    jvp=[_euclidean_jvp],
)


def vector_norm(x: Any, axis: Axis, keepdims: bool, order: float) -> Any:
    """``sum(|x|^p)^(1/p)`` and its limits for p = 0 and infinity."""
    axis = static(axis)
    if order == 2:
        return euclidean(x, axis=axis, keepdims=keepdims)
    if order == 0:
        return cast(sum(not_equal(x, 0), axis, keepdims), dtype=value_of(x).real.dtype)
    size = absolute(x)
    if order == 1 or (order > 0 and count_of(size.shape, axis) == 0):
        return sum(size, axis, keepdims)
    if math.isinf(order):
        return (max if order > 0 else min)(size, axis, keepdims)
    return _p_norm(x, size, axis, keepdims, order)


def _p_norm(x: Any, size: Any, axis: Axis, keepdims: bool, order: float) -> Any:
    """The general case. Elements that are 0 take no part in powers, whose slope there may be inf.

    The numbers are divided by one of them (a constant: the norm is homogeneous), so that powers do
    not overflow.
    """
    unit = _unit(value_of(size), axis, order)
    vanishing = equal(x, 0)
    powers = power(where(vanishing, 1, size / unit), order)
    total = sum(where(vanishing, 0 if order > 0 else math.inf, powers), axis, keepdims)
    empty = equal(total, 0)
    root = where(empty, 0, power(where(empty, 1, total), 1 / order))
    return root * (unit if keepdims else np.reshape(unit, np.shape(root)))


def _unit(size: Any, axis: Axis, order: float) -> Any:
    """The largest (for p < 0 the smallest) size, or 1 if that is 0 or not finite."""
    extreme = np.max if order > 0 else np.min
    unit = (
        extreme(size, axis=axis, keepdims=True)
        if size.size
        else np.sum(size, axis=axis, keepdims=True)
    )
    return np.where((unit > 0) & np.isfinite(unit), unit, size.dtype.type(1))
