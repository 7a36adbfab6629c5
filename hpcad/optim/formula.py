"""Update rules as mathematics: the same lines compute with arrays, and write a fused kernel.

A rule is an ordinary function of arrays. Called with :class:`Term` in their place, its arithmetic
writes the nodes of a :class:`~hpcad.program.kernels.ir.Kernel`.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from hpcad.program.kernels.ir import Node

# NumPy's names of what a rule may compute elementwise, and those of the primitives.
FUNCTIONS = {
    np.add: "add",
    np.subtract: "subtract",
    np.multiply: "multiply",
    np.divide: "divide",
    np.negative: "negative",
    np.square: "square",
    np.sqrt: "sqrt",
    np.absolute: "absolute",
    np.sign: "sign",
    np.exp: "exp",
    np.log: "log",
    np.tanh: "tanh",
    np.maximum: "maximum",
    np.minimum: "minimum",
}


class Formula:
    """Nodes of a kernel under construction; equal ones are written once.

    Parameters
    ----------
    dtype : str
        Of the arrays. As in NumPy, numbers are double precision among themselves, and take on the
        type of an array that they meet.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self._nodes: dict[Node, int] = {}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, arguments before what is computed from them."""
        return tuple(self._nodes)

    def load(self, operand: int, dtype: str | None = None) -> Term:
        """The element of an array."""
        return self._write(Node("load", (), dtype or self.dtype, operand), is_array=True)

    def scalar(self, number: int) -> Term:
        """A number that is known when the kernel runs."""
        return self._write(Node("scalar", (), "float64", number), is_array=False)

    def apply(self, op: str, *args: Any) -> Term:
        """A primitive of terms and numbers."""
        is_array = any(isinstance(arg, Term) and arg.is_array for arg in args)
        dtype = self.dtype if is_array else "float64"
        places = tuple(self._converted(arg, dtype) for arg in args)
        return self._write(Node(op, places, dtype), is_array)

    def _converted(self, arg: Any, dtype: str) -> int:
        if not isinstance(arg, Term):
            return self._write(Node("literal", (), dtype, float(arg)), is_array=False).place
        if arg.is_array or dtype == "float64":
            return arg.place
        return self._write(Node("cast", (arg.place,), dtype), is_array=False).place

    def _write(self, node: Node, is_array: bool) -> Term:
        return Term(self, self._nodes.setdefault(node, len(self._nodes)), is_array)


class Term(np.lib.mixins.NDArrayOperatorsMixin):
    """What stands for an array in a rule: one node of a formula.

    Attributes
    ----------
    formula : Formula
    place : int
        Of the node, in its formula.
    is_array : bool
        Whether it varies from element to element.
    """

    __slots__ = ("formula", "is_array", "place")

    def __init__(self, formula: Formula, place: int, is_array: bool) -> None:
        self.formula = formula
        self.place = place
        self.is_array = is_array

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        name = FUNCTIONS.get(ufunc)
        known = all(isinstance(arg, (Term, numbers.Real)) for arg in args)
        if name is None or method != "__call__" or options or not known:
            return NotImplemented
        return self.formula.apply(name, *args)
