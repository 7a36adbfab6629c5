"""The update by NumPy (or CuPy): the reference, and what runs where nothing can be compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.backend import Array, backend_of
from hpcad.nn.arena import ParameterArena
from hpcad.optim.formula import FUNCTIONS
from hpcad.optim.rule import Rule
from hpcad.optim.stretches import Stretch

_UFUNCS = {name: ufunc for ufunc, name in FUNCTIONS.items()}
Step = tuple[Any, tuple[int, ...], int]  # function, places of its arguments, place of its answer


class ChunkedUpdate:
    """One arena's update, in chunks that stay in cache: memory is read and written once.

    Parameters
    ----------
    arena : ParameterArena
    slots : sequence of arrays
        The state, of the layout of the arena.
    parts : list of Stretch
    rules : mapping of bool to Rule
        With and without decay.
    """

    def __init__(
        self,
        arena: ParameterArena,
        slots: Sequence[Array],
        parts: list[Stretch],
        rules: Mapping[bool, Rule],
    ) -> None:
        self._operands = (arena.values.flat, arena.grads.flat, *slots)
        self._parts = parts
        self._orders = {decays: Order(rule, len(self._operands)) for decays, rule in rules.items()}
        values, backend = arena.values, backend_of(arena.values.flat)
        self._size = max(1, min(values.size, backend.chunk_bytes // values.dtype.itemsize))
        count = max((order.registers for order in self._orders.values()), default=0)
        self._registers = [backend.empty((self._size,), values.dtype) for _ in range(count)]

    def update(self, numbers: list[float]) -> None:
        """Take one step with these run-time numbers."""
        for part in self._parts:
            order = self._orders[part.decays]
            now = order.numbers(numbers)
            for piece in pieces(part.start, part.stop, self._size):
                chunks = [array[piece] for array in self._operands]
                registers = [register[: chunks[0].size] for register in self._registers]
                order.run(chunks, now, registers)

    def squares(self) -> float:
        """Sum of the squared gradients, in double precision."""
        grads, total = self._operands[1], 0.0
        for piece in pieces(0, grads.size, self._size):
            g = grads[piece].astype(np.float64, copy=False)
            total += float(g @ g)
        return total


def pieces(start: int, stop: int, size: int) -> Iterator[slice]:
    """Cut a stretch into pieces of at most ``size``."""
    for begin in range(start, stop, size):
        yield slice(begin, min(begin + size, stop))


class Order:
    """The steps of a rule, each with the place for its answer: no array is made.

    Places are the operands, then the numbers, then registers.

    Attributes
    ----------
    registers : int
        How many scratch arrays it needs.
    """

    def __init__(self, rule: Rule, operands: int) -> None:
        self.registers = 0
        self._nodes, self._results = rule.nodes, rule.results
        self._last = {arg: i for i, node in enumerate(rule.nodes) for arg in node.args}
        self._last |= {i: len(rule.nodes) for i, _ in rule.results}
        self._numbers: list[int] = []
        for i, node in enumerate(rule.nodes):
            if node.op != "load" and all(arg in self._numbers for arg in node.args):
                self._numbers.append(i)
        self._base = operands + len(self._numbers)
        self._places = {i: operands + k for k, i in enumerate(self._numbers)}
        self._steps: list[Step] = []
        self._arrange()

    def numbers(self, scalars: Sequence[float]) -> list[float]:
        """What does not vary from element to element, for this step."""
        found: dict[int, float] = {}
        for i in self._numbers:
            node = self._nodes[i]
            if node.op in ("scalar", "literal"):
                found[i] = scalars[node.detail] if node.op == "scalar" else node.detail
            elif node.op == "cast":  # a Python number takes on the type of arrays by itself
                found[i] = found[node.args[0]]
            else:
                found[i] = float(_UFUNCS[node.op](*[found[arg] for arg in node.args]))
        return list(found.values())

    def run(
        self, chunks: Sequence[Array], numbers: Sequence[float], registers: Sequence[Array]
    ) -> None:
        """Update the first chunk, and the slots', in place."""
        places = [*chunks, *numbers, *registers]
        for function, args, out in self._steps:
            function(*[places[i] for i in args], out=places[out])

    def _arrange(self) -> None:
        free: list[int] = []
        for i, node in enumerate(self._nodes):
            if node.op == "load":
                self._places[i] = node.detail
            elif i not in self._places:
                dying = {self._places[arg] for arg in node.args if self._last[arg] == i}
                free += [place for place in dying if place >= self._base]
                home = self._home(i)
                args = tuple(self._places[arg] for arg in node.args)
                self._places[i] = self._register(free) if home is None else home
                self._steps.append((_UFUNCS[node.op], args, self._places[i]))
        for i, operand in self._results:
            if self._places[i] != operand:
                self._steps.append((np.positive, (self._places[i],), operand))

    def _home(self, i: int) -> int | None:
        """The operand that a node is stored in, where nobody reads its old values any more."""
        for result, operand in self._results:
            if result == i and all(
                self._last.get(k, 0) <= i
                for k, other in enumerate(self._nodes)
                if other.op == "load" and other.detail == operand
            ):
                return operand
        return None

    def _register(self, free: list[int]) -> int:
        if free:
            return free.pop()
        self.registers += 1
        return self._base + self.registers - 1
