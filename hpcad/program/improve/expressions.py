"""Elementwise expressions found in a program, by the definitions that made them.

What is looked for is no formula of its own: the definition is captured, and its instructions are
the pattern. So it is found as long as program and pattern come from the same lines.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.program.capture.capture import Capture
from hpcad.program.instruction import Instruction, Value

LEAF = "x"  # in a pattern: the value that the expression is one of


@functools.cache
def pattern(definition: Callable[[Any], Any]) -> Any:
    """The expression that a definition of one argument computes.

    Returns
    -------
    tuple
        Name of the operation, and its arguments: patterns, numbers and :data:`LEAF`.
    """
    capture = Capture(ahead=True)
    with capture:
        result = definition(capture.input(np.ones(2, np.float32)))
    (given,), found = capture.program.inputs, result.symbol

    def tree(x: Any) -> Any:
        if not isinstance(x, Value):
            return x
        if x is given:
            return LEAF
        return (x.source.name, *map(tree, x.source.args))

    made = tree(found)
    capture.release()
    return made


def argument(value: Any, expression: Any) -> Value | None:
    """What a value is the expression of; None where it is none. Reshapes are looked through."""
    found: list[Value] = []
    return found[0] if _matches(value, expression, found) and found else None


def reshaped(value: Value) -> Value:
    """What a value is a reshape of, in the end."""
    while value.origin == "result" and value.source.name == "reshape":
        value = value.source.args[0]
    return value


def readers(value: Value, users: dict[Value, list[Instruction]]) -> list[Instruction]:
    """Who reads a value or a reshape of it."""
    found: list[Instruction] = []
    for user in users.get(value, []):
        found += readers(user.out, users) if user.name == "reshape" else [user]
    return found


def _matches(x: Any, expression: Any, found: list[Value]) -> bool:
    if not isinstance(x, Value):
        return not isinstance(expression, tuple) and type(expression) is not str and x == expression
    base = reshaped(x)
    if expression is LEAF:
        if not found:
            found.append(base)
        return found[0] is base
    if not isinstance(expression, tuple) or base.origin != "result":
        return False
    name, *parts = expression
    made = base.source
    if made.name != name or len(made.args) != len(parts):
        return False
    if any(isinstance(a, Value) and a.size != base.size for a in made.args):
        return False  # something is broadcast
    return all(_matches(a, part, found) for a, part in zip(made.args, parts, strict=True))
