"""NumPy's ufuncs on tensors: ``np.arctan(t)``, ``np.add.reduce(t)``, ``np.multiply.outer(t, u)``.

Calls of ufuncs that are primitives do not come here: :mod:`hpcad.primitives.operators` knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.errors import ShapeError
from hpcad.numpy.dispatch import INSTEAD, find, substituted
from hpcad.primitives.joining import stack, unstack
from hpcad.primitives.layout import expand_dims

_REDUCTIONS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
    "logaddexp": "logsumexp",
}
_ACCUMULATIONS = {"add": "cumulative_sum", "multiply": "cumulative_prod"}


def ufunc(called: Any, method: str, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What a tensor does with a ufunc; see :meth:`numpy.class.__array_ufunc__`."""
    theirs = called if method == "__call__" else getattr(called, method)
    return substituted(lambda: _instead(called, method, inputs, options), theirs, inputs, options)


def _instead(called: Any, method: str, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Our function in the place of the ufunc."""
    name = called.__name__.removeprefix("cupy_")
    options = {key: v for key, v in options.items() if v is not None or key == "axis"}
    how = "" if method == "__call__" else f".{method}"
    if method != "__call__":
        known = {"axis", "keepdims", "dtype"}
    else:
        known = {"axis"} if name == "vecdot" else set()
    unknown = set(options) - known
    if unknown:
        how += "".join(f" with {option}=" for option in sorted(unknown))
        raise TypeError(f"numpy.{name}{how} has no derivative rule here; {INSTEAD}")
    function = find(name)
    methods: dict[str, Callable[..., Any]] = {
        "__call__": _call,
        "outer": _outer,
        "reduce": _reduce,
        "accumulate": _accumulate,
    }
    apply = methods.get(method)
    if function is None or apply is None or (method != "__call__" and called.nin != 2):
        raise TypeError(f"numpy.{name}{how} has no derivative rule here; {INSTEAD}")
    return apply(name, function, *inputs, **options)


def _call(_name: str, function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    return function(*inputs, **options)


def _outer(_name: str, function: Callable[..., Any], x: Any, y: Any) -> Any:
    ones = (None,) * np.ndim(y)
    return function(x[(..., *ones)] if ones else x, y)


def _reduce(name: str, function: Callable[..., Any], x: Any, axis: Any = 0, **options: Any) -> Any:
    reduction = find(_REDUCTIONS.get(name, ""))
    if reduction is not None:
        return reduction(x, axis=axis, **options)
    if axis is None or isinstance(axis, tuple) or set(options) - {"keepdims"}:
        raise TypeError(f"numpy.{name}.reduce of a tensor takes one axis and keepdims only")
    total = _partial(name, function, x, axis)[-1]
    return expand_dims(total, axis) if options.get("keepdims") else total


def _accumulate(name: str, function: Callable[..., Any], x: Any, axis: int = 0) -> Any:
    accumulation = find(_ACCUMULATIONS.get(name, ""))
    if accumulation is not None:
        return accumulation(x, axis=axis)
    if np.size(x) == 0:
        return x
    return stack(_partial(name, function, x, axis), axis)


def _partial(name: str, function: Callable[..., Any], x: Any, axis: int) -> list[Any]:
    """The function applied to the first slices along an axis: one, two, and so on."""
    first, *rest = unstack(x, axis) or [None]
    if first is None:
        raise ShapeError(f"numpy.{name} cannot reduce the empty axis {axis} of shape {x.shape}")
    found = [first]
    for part in rest:
        found.append(function(found[-1], part))
    return found


LINKS.ufunc = ufunc
