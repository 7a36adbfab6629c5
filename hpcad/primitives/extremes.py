"""Largest and smallest elements; at ties the derivative is split evenly."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend.half import is_inexact, limits
from hpcad.primitives import shapes
from hpcad.primitives.elementwise import divide, equal, maximum, multiply, not_equal
from hpcad.primitives.reduction import Axis, spread, static, sum
from hpcad.primitives.shapes import as_array


def _share(hit: Any, x: Any, axis: Axis) -> Any:
    """1 / (number of hits) at hits, 0 elsewhere, and 0 where there are none."""
    one = limits(x.dtype).dtype.type(1)
    weight = multiply(hit, one)
    return divide(weight, maximum(sum(weight, axis, keepdims=True), one))


def _attaining(z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """Shares of the elements that attain the extreme; nan is attained where it is."""
    hit = maximum(equal(x, spread(z, np.shape(x), axis, keepdims)), not_equal(x, x))
    return _share(hit, x, axis)


def _attaining_numbers(z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """The same, but nan is never attained."""
    return _share(equal(x, spread(z, np.shape(x), axis, keepdims)), x, axis)


def _extreme(name: str, value: Any, shares: Any) -> Primitive:
    def vjp(g: Any, z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
        return multiply(spread(g, np.shape(x), axis, keepdims), shares(z, x, axis, keepdims))

    def jvp(t: Any, z: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
        return sum(multiply(t, shares(z, x, axis, keepdims)), axis, keepdims)

    return Primitive(name, value, shapes.reduced, [vjp], jvp=[jvp])


def _without_nan(reduce: Any, worst: float) -> Any:
    """A reduction that ignores nan, and is nan where there is nothing else."""

    def value(x: Any, *, axis: Axis, keepdims: bool) -> Any:
        missing = np.isnan(x)
        found = reduce(np.where(missing, x.dtype.type(worst), x), axis=axis, keepdims=keepdims)
        none = np.all(missing, axis=axis, keepdims=keepdims)
        return np.where(none, x.dtype.type(np.nan), found)

    return value


# fmt: off
_max = _extreme("max", lambda x, *, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims),
                _attaining)
_min = _extreme("min", lambda x, *, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims),
                _attaining)
_nanmax = _extreme("nanmax", _without_nan(np.max, -np.inf), _attaining_numbers)
_nanmin = _extreme("nanmin", _without_nan(np.min, np.inf), _attaining_numbers)
# fmt: on


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Maximum over ``axis``; at ties the cotangent is split evenly."""
    return _max(as_array(x), axis=static(axis), keepdims=keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Minimum over ``axis``; at ties the cotangent is split evenly."""
    return _min(as_array(x), axis=static(axis), keepdims=keepdims)


def largest(x: Any, keepdims: bool = False) -> Any:
    """The largest of numbers that are not negative, along the last axis; 0 where there is none."""
    if x.shape[-1]:
        return max(x, -1, keepdims)
    return sum(x, -1, keepdims)


def nanmax(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Maximum of what is not nan; entries that are nan get no cotangent."""
    x = as_array(x)
    which = _nanmax if is_inexact(x.dtype) else _max
    return which(x, axis=static(axis), keepdims=keepdims)


def nanmin(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Minimum of what is not nan; entries that are nan get no cotangent."""
    x = as_array(x)
    which = _nanmin if is_inexact(x.dtype) else _min
    return which(x, axis=static(axis), keepdims=keepdims)
