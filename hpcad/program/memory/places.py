"""Buffers, and the places of values in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpcad.program.fusion.fuse import Task
from hpcad.program.fusion.groups import Group
from hpcad.program.instruction import Program, Value
from hpcad.program.views import Layout

ALIGNMENT = 64


@dataclass(eq=False)
class Buffer:
    """A piece of memory.

    Attributes
    ----------
    nbytes : int
    first, last : int
        The tasks between which it is in use.
    external : array or None
        Memory of somebody else: a parameter, a gradient, an array of the user.
    offset : int
        In the arena.
    """

    nbytes: int
    first: int = 1 << 60
    last: int = -1
    external: np.ndarray | None = None
    offset: int = 0

    def used_at(self, position: int) -> None:
        self.first = min(self.first, position)
        self.last = max(self.last, position)


@dataclass(frozen=True)
class Place:
    """A buffer, and how a value lies in it."""

    buffer: Buffer
    layout: Layout


def reads(task: Task | Group) -> Iterator[Value]:
    """The values that a task reads."""
    if isinstance(task, Group):
        for value, _ in task.loads():
            yield value
    else:
        yield from task.instruction.inputs()


def writes(task: Task | Group) -> Iterator[Value]:
    """The values that a task makes, or a part of which it makes."""
    if isinstance(task, Group):
        for target in task.targets:
            yield target.value
    else:
        yield from task.instruction.outs


def outputs(program: Program) -> Iterator[Value]:
    """The values that the program returns."""
    for out in program.outputs:
        if isinstance(out, tuple) and out and isinstance(out[0], Value):
            yield out[0]
