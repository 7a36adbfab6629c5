"""Elementwise functions made from a primitive and two lines of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def of_one(name: str, operation: Function, summary: str, derivative: str | None = None) -> Function:
    """A public function of one array."""

    def function(x: Any, /) -> Any:
        return operation(x)

    return _named(function, name, summary, "x : array", derivative)


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
