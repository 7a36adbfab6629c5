"""Names of values in generated source."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpcad.program.fusion.groups import Group, Key
from hpcad.program.instruction import Instruction, Value

INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "greater": ">", "less": "<",
    "greater_equal": ">=", "less_equal": "<=", "equal": "==", "not_equal": "!=",
    "masked_multiply": "*", "masked_divide": "/",
}  # fmt: skip
LONGEST = 160  # characters of a formula in a comment


class Names:
    """Readable names: of parameters their own, of other values by how they were made.

    Parameters
    ----------
    program : str
        The name of the function, which is none of theirs.
    """

    def __init__(self, program: str = "") -> None:
        self._of: dict[Any, str] = {}
        self._taken = {"np", program}

    def of(self, value: Value) -> str:
        known = self._of.get(value)
        if known is None:
            numbered = value.origin == "result"
            known = self._of[value] = self.new(_wish(value), numbered)
        return known

    def view(self, value: Value, base: Value) -> str:
        """The name of another way to look at a value."""
        known = self._of.get(value)
        if known is None:
            known = self._of[value] = self.new(
                f"{self.of(base)}_{value.source.name}", numbered=False
            )
        return known

    def alone(self, thing: Any, wish: str) -> str:
        """The name of something that is no value: a gradient, an operation."""
        key = (type(thing), id(thing), wish)
        known = self._of.get(key)
        if known is None:
            known = self._of[key] = self.new(wish, numbered=False)
        return known

    def new(self, wish: str, numbered: bool = True) -> str:
        """A name that is not taken: the wish, or the wish with a number."""
        wish = _identifier(wish)
        name, count = (f"{wish}_1" if numbered else wish), 1
        while name in self._taken:
            count += 1
            name = f"{wish}_{count}"
        self._taken.add(name)
        return name

    # -- formulas -----------------------------------------------------------------------------

    def formula(self, group: Group) -> str:
        """What a kernel stores, as formulas of what it loads."""
        parts = [f"{self.of(t.value)} = {self._summed(t, group)}" for t in group.targets]
        text = "; ".join(parts)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."

    def _summed(self, target: Any, group: Group) -> str:
        text = self._expression(target.key, group, 0)
        return text if target.axes is None else f"sum({text}, axis={target.axes})"

    def _expression(self, key: Key, group: Group, depth: int) -> str:
        node = group.nodes[key]
        if node.op == "literal":
            return f"{node.detail:.6g}" if isinstance(node.detail, float) else repr(node.detail)
        if node.op == "load":
            return self.of(key[0])
        if depth > 12:
            return "..."
        args = [self._expression(arg, group, depth + 1) for arg in node.args]
        if node.op in INFIX:
            text = f"{args[0]} {INFIX[node.op]} {args[1]}"
            return f"({text})" if depth else text
        return f"{node.op}({', '.join(args)})"


def shapes(values: Any) -> str:
    """Shapes and dtypes for a comment."""
    return ", ".join(f"{v!r}" for v in values)


def _wish(value: Value) -> str:
    if value.origin == "parameter":
        return value.source.name or "parameter"
    if value.origin == "input":
        return f"input_{value.source}"
    if value.origin == "result":
        return value.source.name
    return "constant" if value.origin == "literal" else "array"


def _identifier(wish: str) -> str:
    """The wish, with what Python does not take for a name replaced."""
    name = re.sub(r"\W", "_", wish)
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"_{name}"


def literal(x: Any) -> str:
    """A Python number, slice or tuple as source."""
    if isinstance(x, float) and not math.isfinite(x):
        return f'float("{float(x)}")'
    if isinstance(x, complex):
        return f"complex({literal(x.real)}, {literal(x.imag)})"
    if isinstance(x, Mapping):
        return "{" + ", ".join(f"{k!r}: {literal(v)}" for k, v in x.items()) + "}"
    if isinstance(x, np.dtype):
        return repr(str(x))
    return repr(x)


def describe(instruction: Instruction) -> str:
    """An instruction in words, for messages."""
    return f"{instruction.name} at {instruction.line}"
