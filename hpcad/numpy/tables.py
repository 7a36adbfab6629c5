"""Elementwise functions made from a primitive and two lines of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import Tensor
from hpcad.primitives.operators import follows

Function = Callable[..., Any]


def of_one(name: str, operation: Function, summary: str, derivative: str | None = None) -> Function:
    """A public function of one array."""

    def function(x: Any, /) -> Any:
        return operation(x)

    if isinstance(operation, Primitive) and operation.differentiable:
        function = _direct(operation)
    return _named(function, name, summary, "x : array", derivative)


def _direct(primitive: Primitive) -> Function:
    """Straight to the trace of a tensor that is followed: nothing else can follow the call."""

    def function(x: Any, /) -> Any:
        if isinstance(x, Tensor) and follows(x):
            return x.follower.process_leading(primitive, x, ())  # type: ignore[union-attr]
        return primitive(x)

    return function


def of_two(name: str, operation: Function, summary: str, derivative: str | None = None) -> Function:
    """A public function of two arrays that broadcast; one of them may be a Python number."""

    def function(x1: Any, x2: Any, /) -> Any:
        return operation(x1, x2)

    return _named(function, name, summary, "x1, x2 : array or number", derivative)


def _named(
    function: Function, name: str, summary: str, arguments: str, derivative: str | None
) -> Function:
    function.__name__ = function.__qualname__ = name
    function.__module__ = "hpcad.numpy"
    slope = f"Derivative: {derivative}." if derivative else "Not differentiated: a constant."
    function.__doc__ = (
        f"{summary}, element by element.\n\n"
        f"Parameters\n----------\n{arguments}\n\n"
        f"Returns\n-------\narray of the broadcast shape\n\n"
        f"Notes\n-----\n{slope}\n"
    )
    return function
