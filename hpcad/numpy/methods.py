"""NumPy's methods and the rarer operators on tensors, each the function of its name.

They are looked up when they are called. The operators that programs consist of are installed by
:mod:`hpcad.primitives.operators`, without a look-up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.numpy import ufuncs as ufuncs  # NumPy's dispatch of those
from hpcad.numpy.at import At
from hpcad.numpy.dispatch import call, find, substituted
from hpcad.primitives.assignment import augmented
from hpcad.primitives.creation import copy

# Python's operator -> function
OPERATORS = {
    "floordiv": "floor_divide",
    "mod": "remainder",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
UNARY = {"invert": "bitwise_invert", "pos": "positive"}

# Methods that are NumPy's function of the same name with the array first.
METHODS = (
    "all",
    "any",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "choose",
    "clip",
    "copy",
    "cumprod",
    "cumsum",
    "diagonal",
    "dot",
    "max",
    "mean",
    "min",
    "nonzero",
    "prod",
    "ravel",
    "repeat",
    "round",
    "searchsorted",
    "squeeze",
    "std",
    "sum",
    "swapaxes",
    "take",
    "trace",
    "var",
)
PROPERTIES = ("real", "imag")


def _function(name: str) -> Callable[..., Any]:
    found = find(name)
    if found is None:
        raise TypeError(f"hpcad.numpy has no function {name}, which this method stands for")
    return found


def _binary(name: str) -> Callable[[Any, Any], Any]:
    return lambda x, y, /: _function(name)(x, y)


def _reflected(name: str) -> Callable[[Any, Any], Any]:
    return lambda x, y, /: _function(name)(y, x)


def _unary(name: str) -> Callable[[Any], Any]:
    return lambda x, /: _function(name)(x)


def _method(name: str) -> Callable[..., Any]:
    theirs = getattr(np, name)

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        given = (self, *args)

        def ours() -> Any:
            return call(_function(name), theirs, f"tensor.{name}", given, kwargs)

        return ours() if STATE.capture is None else substituted(ours, theirs, given, kwargs)

    method.__name__ = name
    method.__doc__ = f"See :func:`hpcad.numpy.{name}`."
    return method


def _astype(self: Tensor, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """See :func:`hpcad.numpy.astype`."""
    return _function("astype")(self, dtype, copy=copy, device=device)


def _flatten(self: Tensor) -> Any:
    """Return the elements in one row, as a copy."""
    return copy(_function("reshape")(self, (-1,)))


def _partition(self: Tensor, *args: Any, **kwargs: Any) -> None:
    """Partition in place, as NumPy's method does."""
    self[...] = call(
        _function("partition"), np.partition, "tensor.partition", (self, *args), kwargs
    )


def _fill(self: Tensor, value: Any) -> None:
    """Assign one value to all elements."""
    self[...] = value


def _contains(self: Tensor, value: Any) -> bool:
    """Whether some element equals the value."""
    return bool(np.any(value_of(self) == value_of(value)))


def _sort(self: Tensor, *args: Any, **kwargs: Any) -> None:
    """Sort in place, as NumPy's method does; ``hpcad.numpy.sort`` returns another tensor."""
    self[...] = call(_function("sort"), np.sort, "tensor.sort", (self, *args), kwargs)


def _compress(self: Tensor, condition: Any, axis: int | None = None) -> Any:
    """See :func:`hpcad.numpy.compress`."""
    return _function("compress")(condition, self, axis=axis)


def _conj(self: Tensor) -> Any:
    """See :func:`hpcad.numpy.conj`."""
    return _function("conj")(self)


def _namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """The namespace of the array API standard."""
    namespace = sys.modules["hpcad.numpy"]
    known = ("2021.12", "2022.12", "2023.12", "2024.12", namespace.__array_api_version__)
    if api_version is not None and api_version not in known:
        raise ValueError(
            f"version {api_version!r} of the array API is not known; expected one of "
            + ", ".join(known)
        )
    return namespace


def install() -> None:
    """Give tensors their methods."""
    for name, function in OPERATORS.items():
        setattr(Tensor, f"__{name}__", _binary(function))
        setattr(Tensor, f"__r{name}__", _reflected(function))
        setattr(Tensor, f"__i{name}__", augmented(_binary(function)))
    for name, function in UNARY.items():
        setattr(Tensor, f"__{name}__", _unary(function))
    for name in METHODS:
        setattr(Tensor, name, _method(name))
    for name in PROPERTIES:
        setattr(Tensor, name, property(_unary(name)))
    others = {
        "__array_namespace__": _namespace,
        "__array_priority__": 1000.0,
        "__contains__": _contains,
        "__divmod__": lambda self, other: (self // other, self % other),
        "__rdivmod__": lambda self, other: (other // self, other % self),
        "astype": _astype,
        "at": property(At),
        "compress": _compress,
        "conj": _conj,
        "conjugate": _conj,
        "fill": _fill,
        "flatten": _flatten,
        "itemsize": property(lambda self: self.dtype.itemsize),
        "nbytes": property(lambda self: self.size * self.dtype.itemsize),
        "partition": _partition,
        "sort": _sort,
    }
    for name, method in others.items():
        setattr(Tensor, name, method)
    LINKS.complete = True


install()
