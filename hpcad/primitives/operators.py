"""NumPy's operators and methods on :class:`~hpcad.autodiff.Tensor`, and the tape's algebra.

The tape's room stands below the primitives, so they are put into it from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.primitive import PRIMITIVES, Primitive
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import AMBIENT, Tensor, value_of
from hpcad.backend import backend_of
from hpcad.primitives import (
    assignment,
    extremes,
    indexing,
    joining,
    layout,
    ownership,
    product,
    reduction,
)
from hpcad.primitives import elementwise as e


def _matmul(x: Any, y: Any) -> Any:
    """The product; of two vectors, while a program is captured, a scalar as NumPy returns it."""
    z = product.matmul(x, y)
    return z.as_scalar() if hasattr(z, "as_scalar") else z


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": e.add,
    "sub": e.subtract,
    "mul": e.multiply,
    "truediv": e.divide,
    "pow": e.power,
    "matmul": _matmul,
}
COMPARISON: dict[str, Callable[[Any, Any], Any]] = {
    "eq": e.equal,
    "ne": e.not_equal,
    "lt": e.less,
    "le": e.less_equal,
    "gt": e.greater,
    "ge": e.greater_equal,
}


def _flipped(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: operation(other, self)


def _plain(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    if isinstance(operation, Primitive) and not operation.constant:
        return _direct(operation)
    return lambda self, other: operation(self, other)


def _direct(primitive: Primitive) -> Callable[[Any, Any], Any]:
    """With an array or a number on the right, straight to the trace: nothing else can follow it."""

    def method(self: Tensor, other: Any) -> Any:
        trace = self.follower
        if trace is None or isinstance(other, Tensor):
            return primitive(self, other)
        if self.level > AMBIENT or (STATE.recording and not trace.spent):  # as in follows()
            return trace.process_leading(primitive, self, (other,))
        return primitive(self, other)

    return method


def follows(x: Tensor) -> bool:
    """Whether the trace that made a tensor would follow an operation on it now."""
    trace = x.follower
    return trace is not None and (x.level > AMBIENT or (STATE.recording and not trace.spent))


def _reshape(self: Tensor, *shape: Any) -> Any:
    return layout.reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose(self: Tensor, *axes: Any) -> Any:
    given = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
    return layout.transpose(self, given or None)


METHODS: dict[str, Any] = {
    "__neg__": lambda self: e.negative(self),
    "__abs__": lambda self: e.absolute(self),
    "__getitem__": indexing.getitem,
    "__setitem__": assignment.assign,
    "sum": reduction.sum,
    "mean": reduction.mean,
    "max": extremes.max,
    "min": extremes.min,
    "reshape": _reshape,
    "transpose": _transpose,
    "T": property(lambda self: layout.transpose(self)),
    "mT": property(lambda self: layout.matrix_transpose(self)),
}

UFUNCS: dict[np.ufunc, Callable[..., Any]] = {}


def _ufuncs() -> dict[np.ufunc, Callable[..., Any]]:
    table = {p.value: p for p in PRIMITIVES.values() if isinstance(p.value, np.ufunc)}
    return {**table, np.matmul: _matmul}


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's way into the table: ``np.sin(t)``, and ``array * t``, which is np.multiply."""
    if method == "__call__" and not options:
        operation = UFUNCS.get(ufunc)
        if operation is not None:
            return operation(*inputs)
    return LINKS.ufunc(ufunc, method, inputs, options)


def _zeros_like(x: Any) -> Any:
    value = value_of(x)
    return backend_of(value).xp.zeros_like(value)


def install() -> None:
    """Give tensors their operators, and the tape its algebra."""
    LINKS.complete = True  # enough for the tapes that are made below
    for name, operation in BINARY.items():
        setattr(Tensor, f"__{name}__", _plain(operation))
        setattr(Tensor, f"__r{name}__", _flipped(operation))
        setattr(Tensor, f"__i{name}__", assignment.augmented(operation))
    for name, operation in COMPARISON.items():
        setattr(Tensor, f"__{name}__", _plain(operation))
    UFUNCS.update(_ufuncs())
    setattr(Tensor, "__array_ufunc__", _array_ufunc)  # noqa: B010  (mypy: assigned to a class)
    for name, method in METHODS.items():
        setattr(Tensor, name, method)
    LINKS.add = e.add
    LINKS.sum_to = reduction.sum_to
    LINKS.broadcast_to = reduction.broadcast_to
    LINKS.cast = lambda g, dtype: e.cast(g, dtype=dtype)
    LINKS.zeros_like = _zeros_like
    LINKS.stack = joining.stack
    LINKS.assign = assignment.assign
    ownership.calibrate()
    LINKS.complete = False  # the rarer methods come with hpcad.numpy
