"""Reductions. Differentiable but for counts; at ties and kinks as each function says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of
from hpcad.backend.half import is_half, is_inexact
from hpcad.errors import ConfigError, ShapeError
from hpcad.primitives import cumulative, extremes, layout, reduction
from hpcad.primitives.elementwise import (
    add,
    cast,
    divide,
    equal,
    imag,
    multiply,
    real,
    sqrt,
    square,
    subtract,
    where,
)
from hpcad.primitives.reduction import Axis, count_of, in_dtype
from hpcad.primitives.shapes import as_array, several

__all__: list[str] = [
    "amax",
    "amin",
    "average",
    "max",
    "mean",
    "min",
    "prod",
    "ptp",
    "std",
    "sum",
    "var",
]


def sum(x: Any, /, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    """Sum of the elements.

    Parameters
    ----------
    x : array
    axis : int or tuple of int, optional
        All axes when left out.
    dtype : dtype, optional
        In which it is computed and returned; small integers are promoted otherwise.
    keepdims : bool
        Keep the reduced axes with length 1.
    """
    return reduction.sum(x, axis, keepdims, dtype=dtype)


def prod(x: Any, /, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    """Product of the elements; parameters as for :func:`sum`.

    Differentiated without division, so exact at any number of zeros and to any order.
    """
    return in_dtype(lambda y: cumulative.prod(y, axis, keepdims), as_array(x), dtype)


def mean(x: Any, /, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    """Arithmetic mean; nan of no elements. Parameters as for :func:`sum`."""
    return reduction.mean(x, axis, keepdims, dtype=dtype)


def max(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """Largest element; nan if there is one. At ties the derivative is split evenly."""
    return extremes.max(x, axis, keepdims)


def min(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """Smallest element; nan if there is one. At ties the derivative is split evenly."""
    return extremes.min(x, axis, keepdims)


amax = max
amin = min


def ptp(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """Largest minus smallest element."""
    return subtract(max(x, axis, keepdims=keepdims), min(x, axis, keepdims=keepdims))


def var(
    x: Any,
    /,
    axis: Axis = None,
    dtype: Any = None,
    *,
    correction: float | None = None,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Any:
    """Variance: the sum of squared distances from the mean over (number - ``correction``).

    Parameters
    ----------
    x : array
        Of complex numbers, the squared moduli are added.
    axis, dtype, keepdims
        As for :func:`sum`.
    correction : int or float
        1 for the unbiased estimate. ``ddof`` is another name for it.
    """
    x = as_array(x)
    if dtype is None and is_half(x.dtype):
        return _in_single(var, x, axis, correction, keepdims, ddof)
    if dtype is None and not is_inexact(x.dtype):
        dtype = np.float64
    y = in_precision(x, dtype)
    centred = subtract(y, reduction.mean(y, axis, True))
    spread = reduction.sum(squared_modulus(centred), axis, keepdims)
    left = count_of(x.shape, axis) - free_parameters(correction, ddof)
    return divide(spread, left if left > 0 else math.nan)


def std(
    x: Any,
    /,
    axis: Axis = None,
    dtype: Any = None,
    *,
    correction: float | None = None,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Any:
    """Standard deviation, the root of :func:`var`; its derivative is 0 where it is 0."""
    x = as_array(x)
    if dtype is None and is_half(x.dtype):
        return _in_single(std, x, axis, correction, keepdims, ddof)
    return root(var(x, axis, dtype, correction=correction, keepdims=keepdims, ddof=ddof))


def _in_single(
    of: Callable[..., Any],
    x: Any,
    axis: Axis,
    correction: float | None,
    keepdims: bool,
    ddof: float | None,
) -> Any:
    """In single precision, as squares would leave the range of half precision."""
    wide = of(x, axis, np.float32, correction=correction, keepdims=keepdims, ddof=ddof)
    return cast(wide, dtype=x.dtype)


def in_precision(x: Any, dtype: Any) -> Any:
    """``x`` in a dtype; complex numbers stay complex, with parts of that dtype."""
    if dtype is None:
        return x
    return cast(x, dtype=np.result_type(dtype, np.complex64) if x.dtype.kind == "c" else dtype)


def squared_modulus(x: Any) -> Any:
    """``|x|^2``, smooth at 0."""
    return square(x) if x.dtype.kind != "c" else add(square(real(x)), square(imag(x)))


def root(x: Any) -> Any:
    """Square root with derivative 0 at 0: the infinite slope there never enters."""
    zero = equal(x, 0)
    return where(zero, 0, sqrt(where(zero, 1, x)))


def free_parameters(correction: float | None, ddof: float | None) -> float:
    """What is taken off the number of elements."""
    if correction is not None and ddof is not None:
        raise ConfigError("correction and ddof are two names of one parameter; give one of them")
    given = correction if correction is not None else ddof
    return 0 if given is None else given


def average(
    x: Any,
    /,
    axis: Axis = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Any:
    """Weighted mean, ``sum(w x) / sum(w)``; differentiable in both.

    Parameters
    ----------
    x : array
    axis : int or tuple of int, optional
    weights : array, optional
        Of the shape of ``x``, or of its lengths along ``axis``; equal ones when left out.
    returned : bool
        Return a pair: the average, and the sum of the weights.
    """
    x = as_array(x)
    if weights is None:
        answer = mean(x, axis, keepdims=keepdims)
        xp = backend_of(value_of(answer)).xp
        count = xp.asarray(count_of(x.shape, axis), answer.dtype)
        total = Tensor(count) if isinstance(answer, Tensor) else count
    else:
        w = _placed(as_array(weights, beside=x), x.shape, axis)
        total = sum(reduction.broadcast_to(w, tuple(x.shape)), axis, keepdims=keepdims)
        answer = divide(sum(multiply(x, w), axis, keepdims=keepdims), total)
    if not returned:
        return answer
    return answer, reduction.broadcast_to(total, tuple(answer.shape))


def _placed(w: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """Weights of the lengths along ``axis``, in a shape that broadcasts against ``shape``."""
    if tuple(w.shape) == tuple(shape):
        return w
    axes = None if axis is None else several(axis)
    if axes is None or tuple(w.shape) != tuple(shape[a] for a in axes):
        raise ShapeError(
            f"average: weights of shape {tuple(w.shape)} fit neither the array, of shape "
            f"{tuple(shape)}, nor its axes {axis}"
        )
    places = [a % len(shape) for a in axes]
    w = layout.transpose(w, tuple(int(i) for i in np.argsort(places)))
    return layout.reshape(w, tuple(n if a in places else 1 for a, n in enumerate(shape)))
