"""The straight-line program: values, each made once, and the instructions that make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.primitive import Primitive
from hpcad.backend.device_backend import DeviceBackend

Shape = tuple[int, ...]


class Value:
    """An array of the program.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    origin : str
        ``"input"`` (an argument), ``"literal"`` (an array of the program's own), ``"live"`` (an
        array of the user, read anew each time), ``"parameter"`` or ``"result"``.
    source : object
        Number of the argument, the array, the parameter, or the instruction that makes it.
    order : tuple of int or None
        Its axes as they lie in memory, the slowest first, where that is another order than C's.
    """

    __slots__ = ("dtype", "order", "origin", "shape", "source")

    def __init__(self, shape: Shape, dtype: Any, origin: str, source: Any) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.origin = origin
        self.source = source
        self.order: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Accumulate:
    """``parameter.grad = beta * parameter.grad + value``; ``beta`` is 0 or 1."""

    parameter: Parameter
    beta: float

    @property
    def name(self) -> str:
        return "accumulate"


@dataclass(frozen=True)
class Call:
    """A function that is called for its effect, with arguments that never change.

    Attributes
    ----------
    writes : bool
        Whether it changes parameters.
    """

    function: Any
    args: tuple[Any, ...]
    writes: bool = False

    @property
    def name(self) -> str:
        return "call"


Operation = Primitive | Accumulate | Call


@dataclass(eq=False)
class Instruction:
    """One operation.

    Attributes
    ----------
    op : Primitive, Accumulate or Call
    args : list
        Values, Python numbers and None.
    params : mapping
        As of the primitive; may hold values in the place of arrays (an index, say).
    outs : list of Value
    line : str
        ``file:line`` of the user.
    seen : dict
        Of a view: the layouts that it made of others, which are asked for again and again.
    """

    op: Operation
    args: list[Any]
    params: Mapping[str, Any]
    outs: list[Value]
    line: str
    seen: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return self.op.name

    @property
    def out(self) -> Value:
        return self.outs[0]

    def inputs(self) -> Iterator[Value]:
        """The values it reads."""
        for arg in self.args:
            if isinstance(arg, Value):
                yield arg
        yield from values_in(self.params)

    @property
    def has_effect(self) -> bool:
        return not isinstance(self.op, Primitive) or self.op.ordered


@dataclass
class Program:
    """What a captured call does.

    Attributes
    ----------
    inputs : list of Value
        The arrays among the arguments, in order.
    instructions : list of Instruction
        In order of execution.
    outputs : list
        Values (in pairs with their kinds) and plain things, the leaves of what is returned.
    found : dict of int to (Parameter, bool)
        By ``id``, parameters whose gradients it meets, and whether those were fresh before.
    fixed : list of array
        Those that are no arguments and decided what was done; after :func:`unify`, the user's.
    backend : DeviceBackend or None
        Of the device that its arrays are on; None: of the host.
    """

    inputs: list[Value]
    instructions: list[Instruction] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    found: dict[int, tuple[Parameter, bool]] = field(default_factory=dict)
    fixed: list[np.ndarray] = field(default_factory=list)
    backend: DeviceBackend | None = None

    def consumers(self) -> dict[Value, list[Instruction]]:
        """Which instructions read each value."""
        found: dict[Value, list[Instruction]] = {}
        for instruction in self.instructions:
            for value in instruction.inputs():
                found.setdefault(value, []).append(instruction)
        return found

    def receivers(self) -> tuple[list[Parameter], tuple[bool, ...]]:
        """The parameters that get gradients, and which of those were fresh before."""
        accumulated = [i.op.parameter for i in self.instructions if isinstance(i.op, Accumulate)]
        found = {id(p): self.found[id(p)] for p in accumulated}.values()
        return [p for p, _ in found], tuple([fresh for _, fresh in found])

    def copy(self) -> Program:
        """The same values and operations in instructions of its own."""
        own = [Instruction(i.op, i.args, i.params, i.outs, i.line) for i in self.instructions]
        rest = (list(self.outputs), self.found, self.fixed, self.backend)
        return Program(list(self.inputs), own, *rest)

    def has_live(self) -> bool:
        """Whether it reads arrays of the user that are no arguments."""
        return any(v.origin == "live" for i in self.instructions for v in i.inputs())

    def parameters(self) -> list[Parameter]:
        """Parameters that are read or get a gradient, in order of first use."""
        found: dict[int, Parameter] = {}
        for instruction in self.instructions:
            for value in instruction.inputs():
                if value.origin == "parameter":
                    found.setdefault(id(value.source), value.source)
            if isinstance(instruction.op, Accumulate):
                found.setdefault(id(instruction.op.parameter), instruction.op.parameter)
        return list(found.values())


def kind_of(array: Any) -> str:
    """What NumPy makes of something without axes: a ``"scalar"``, or an ``"array"``."""
    return "scalar" if isinstance(array, np.generic) else "array"


def values_in(tree: Any) -> Iterator[Value]:
    """The values inside of parameters."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from values_in(part)
    elif isinstance(tree, (tuple, list)):
        for part in tree:
            yield from values_in(part)


def replaced(tree: Any, table: Mapping[Any, Any]) -> Any:
    """Parameters with the values exchanged that stand in the table."""
    if isinstance(tree, Value):
        return table.get(tree, tree)
    if isinstance(tree, Mapping):
        return {key: replaced(part, table) for key, part in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(replaced(part, table) for part in tree)
    return tree
