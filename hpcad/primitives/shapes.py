"""Shape rules that several families share.

A shape rule maps the shapes of the arguments to the shape of the answer, without any values.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of

Shape = tuple[int, ...]


def broadcast(*shapes: Shape, **_: Any) -> Shape:
    """Elementwise operations."""
    return np.broadcast_shapes(*shapes)


def same(shape: Shape, *_: Shape, **__: Any) -> Shape:
    """The shape of the first argument."""
    return shape


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Normalise an ``axis`` argument (None, a number, several) to sorted non-negative axes."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(normalize_axis_tuple(axis, ndim)))


def reduced(
    shape: Shape, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Shape:
    """Reductions over ``axis``."""
    axes = axes_of(axis, len(shape))
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def matmul(a: Shape, b: Shape) -> Shape:
    """(..., m, k) by (..., k, n)."""
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def several(x: Any) -> tuple[int, ...]:
    """One integer, or a sequence of them, as a tuple."""
    if isinstance(x, int):
        return (x,)
    return (
        (operator.index(x),)
        if hasattr(x, "__index__") and np.ndim(x) == 0
        else tuple(map(operator.index, x))
    )


def as_array(x: Any, beside: Any = None) -> Any:
    """Numbers and lists as an array, where ``beside`` lies; arrays and tensors as they are."""
    if hasattr(x, "dtype"):
        return x
    return np.asarray(x) if beside is None else backend_of(value_of(beside)).asarray(x)
