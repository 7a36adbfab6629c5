"""Where values live: buffers, and which values share one.

A value gets memory of its own, unless it can be born where it is needed: a gradient in its place
in the arena of the optimizer, a part of a concatenation in its slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend.gemm import layout as blas_layout
from hpcad.program.fuse import Schedule, Task
from hpcad.program.groups import Group, Target, Way
from hpcad.program.instruction import Accumulate, Call, Instruction, Program, Value
from hpcad.program.routines import ACCUMULATING
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


class Storage:
    """The places of all values of a schedule.

    Attributes
    ----------
    places : dict of Value to Place
    written : dict of Task to float
        Accumulations that their producers make themselves: the task is not run; its number is the
        factor on what was there.
    dropped : set of Group
        Copies that are not needed, because the value was born in its place.
    """

    def __init__(self, program: Program, schedule: Schedule) -> None:
        self.program, self.schedule = program, schedule
        self.places: dict[Value, Place] = {}
        self.accumulated: dict[Value, float] = {}
        self.skipped: set[Any] = set()
        self.live = self._scattered()
        self._makers = self._find_makers()
        self._readers = self._find_readers()
        self._place_gradients()
        self._place_parts()
        self._place_sums()
        for position, task in enumerate(schedule.tasks):
            if task not in self.skipped:
                for value in (*reads(task), *writes(task)):
                    self.buffer(value).used_at(position)
        for value in (*program.inputs, *self.live):
            self.buffer(value).first = -1
        for value in outputs(program):
            self.buffer(value).used_at(len(schedule.tasks))
        self._share()

    def _scattered(self) -> list[Value]:
        """Arrays of the user that lie in memory in an order of their own: they are copied."""
        found: dict[Value, None] = {}
        for task in self.schedule.tasks:
            for value in reads(task):
                base = self.origin(value)[0]
                if base.origin == "live" and not base.source.flags.c_contiguous:
                    found[base] = None
        return list(found)

    def origin(self, value: Value) -> tuple[Value, tuple[Instruction, ...]]:
        return self.schedule.views.origin(value)

    def place(self, value: Value) -> Place:
        """Where a value lies."""
        value = self.origin(value)[0]
        known = self.places.get(value)
        if known is None:
            layout = Layout.natural(value)
            external = _external(value)
            if external is not None:
                layout = Layout.of(external)
            known = self.places[value] = Place(Buffer(value.nbytes, external=external), layout)
        return known

    def buffer(self, value: Value) -> Buffer:
        return self.place(value).buffer

    # -- born where they are needed -----------------------------------------------------------

    def _find_makers(self) -> dict[Value, list[int]]:
        makers: dict[Value, list[int]] = {}
        for position, task in enumerate(self.schedule.tasks):
            for value in writes(task):
                makers.setdefault(value, []).append(position)
        return makers

    def _find_readers(self) -> dict[Value, list[int]]:
        readers: dict[Value, list[int]] = {}
        for position, task in enumerate(self.schedule.tasks):
            for value in reads(task):
                readers.setdefault(self.origin(value)[0], []).append(position)
        for value in outputs(self.program):
            readers.setdefault(self.origin(value)[0], []).append(len(self.schedule.tasks))
        return readers

    def _sole_maker(self, value: Value, reader: int) -> int | None:
        """The one task that makes a value that only the reader reads."""
        makers, readers = self._makers.get(value, []), self._readers.get(value, [])
        return makers[0] if len(makers) == 1 and readers == [reader] else None

    def _place_gradients(self) -> None:
        tasks = self.schedule.tasks
        settled: dict[int, int] = {}  # parameter -> task after which its gradient was last written
        for position, task in enumerate(tasks):
            if not isinstance(task, Task) or not isinstance(task.instruction.op, Accumulate):
                continue
            op, (value,) = task.instruction.op, task.instruction.args
            base, way = self.origin(value)
            maker = self._sole_maker(base, position)
            grad = op.parameter.gradient
            free = maker is not None and maker > settled.get(id(op.parameter), -1)
            if free and base not in self.places and not self._calls(maker, position):
                maker_task = tasks[maker]
                layout = self._gradient_layout(maker_task, base, way, grad, op.beta)
                if layout is not None:
                    self.places[base] = Place(Buffer(grad.nbytes, external=grad), layout)
                    self.accumulated[base] = op.beta
                    self.skipped.add(task)
            settled[id(op.parameter)] = position

    def _gradient_layout(
        self, maker: Any, base: Value, way: Any, grad: Any, beta: float
    ) -> Layout | None:
        """How a value lies in a gradient, if the task that makes it can write it there."""
        back = _inverted(way, base)
        if grad is None or back is None or not grad.flags.c_contiguous:
            return None
        if not self._can_write(maker, base, beta):
            return None
        layout: Layout | None = Layout.contiguous(grad.shape, grad.dtype)
        for step in back:
            layout = layout.seen_through(step) if layout is not None else None
        if layout is None or layout.shape != base.shape or layout.dtype != base.dtype:
            return None
        if layout.is_contiguous and base.order is None:
            return layout
        product = isinstance(maker, Task) and maker.instruction.name == "matmul"
        return layout if product and _blas_takes(layout) else None

    def _calls(self, start: int, stop: int) -> bool:
        """Whether something that could look at gradients runs between two tasks."""
        return any(
            isinstance(task, Task) and isinstance(task.instruction.op, Call)
            for task in self.schedule.tasks[start:stop]
        )

    def _can_write(self, maker: Any, value: Value, beta: float) -> bool:
        if isinstance(maker, Group):
            return beta == 0.0 or any(t.value is value and not t.way for t in maker.targets)
        name = maker.instruction.name
        return name in ACCUMULATING

    def _place_parts(self) -> None:
        """Products that are only copied into a slice of something are made there."""
        for position, task in enumerate(self.schedule.tasks):
            copied = _copy_of(task)
            if copied is None or copied[0] in self.places:
                continue
            source, way, target = copied
            maker = self._sole_maker(source, position)
            if maker is None or isinstance(self.schedule.tasks[maker], Group):
                continue
            if self.schedule.tasks[maker].instruction.name != "matmul":  # type: ignore[union-attr]
                continue
            place, back = self.place(target.value), _inverted(way, source)
            layout: Layout | None = place.layout if back is not None else None
            for step in (*target.way, *(back or ())):
                layout = layout.seen_through(step) if layout is not None else None
            if layout is None or layout.shape != source.shape:
                continue
            if not _blas_takes(layout):
                continue
            self.places[source] = Place(place.buffer, layout)
            self.skipped.add(task)

    def _place_sums(self) -> None:
        """A running sum stands in one place; the last task of it says where."""
        for task in reversed(self.schedule.tasks):
            if isinstance(task, Task) and task.instruction.name == "matmul_add":
                before = task.instruction.args[0]
                self.places[before] = self.place(task.instruction.out)

    # -- memory that is written over ----------------------------------------------------------

    def _share(self) -> None:
        """Let a kernel write its answer over an argument that nothing needs afterwards."""
        for position, task in enumerate(self.schedule.tasks):
            if isinstance(task, Group) and task not in self.skipped:
                for target in task.targets:
                    self._share_target(position, task, target)

    def _share_target(self, position: int, group: Group, target: Target) -> None:
        value = target.value
        mine = self.places[value]
        if target.axes is not None or target.way or mine.buffer.external is not None:
            return
        if self._makers[value] != [position] or mine.buffer.nbytes != value.nbytes:
            return
        if value.shape != group.extents or value.order is not None:
            return
        for load, way in group.loads():
            theirs = self.place(load)
            if way or theirs.layout != mine.layout or theirs.buffer.external is not None:
                continue
            if theirs.buffer.last != position or theirs.buffer is mine.buffer:
                continue
            if sum(1 for other, _ in group.loads() if self.buffer(other) is theirs.buffer) > 1:
                continue
            if any(self.buffer(t.value) is theirs.buffer for t in group.targets):
                continue
            theirs.buffer.last = max(theirs.buffer.last, mine.buffer.last)
            self.places[value] = theirs
            for other, place in list(self.places.items()):
                if place.buffer is mine.buffer:
                    self.places[other] = Place(theirs.buffer, place.layout)
            return


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


def _external(value: Value) -> np.ndarray | None:
    if value.origin == "parameter":
        return value.source.array
    if value.origin == "live":
        return value.source if value.source.flags.c_contiguous else None
    if value.origin == "literal":
        value.source = np.ascontiguousarray(value.source).reshape(value.shape)
        return value.source
    return None


def _blas_takes(layout: Layout) -> bool:
    found = blas_layout(layout.shape, layout.strides, layout.dtype.itemsize)
    return len(layout.shape) >= 2 and found is not None


def _copy_of(task: Task | Group) -> tuple[Value, Way, Target] | None:
    """What a group copies, if it does nothing else."""
    if not isinstance(task, Group) or len(task.nodes) != 1 or len(task.targets) != 1:
        return None
    ((value, way), node), = task.nodes.items()
    target = task.targets[0]
    if node.op != "load" or value.origin != "result" or target.axes is not None:
        return None
    return value, way, target


def _inverted(way: Way, source: Value) -> list[Instruction] | None:
    """The steps that lead back from a view to its base; None where one cannot be undone."""
    steps: list[Instruction] = []
    shape = source.shape
    for step in way:
        if not isinstance(step, Instruction) or step.name not in ("reshape", "transpose"):
            return None
        if step.name == "reshape":
            params: dict[str, Any] = {"shape": shape}
        else:
            params = {"axes": tuple(int(i) for i in np.argsort(step.params["axes"]))}
        steps.append(Instruction(step.op, [], params, [], step.line))
        shape = step.out.shape
    return steps[::-1]
