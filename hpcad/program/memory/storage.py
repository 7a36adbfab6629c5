"""Where values live: the place of each, and which values share one."""

from __future__ import annotations

from typing import Any

from hpcad.program.fusion.fuse import Schedule
from hpcad.program.fusion.groups import Group, Target
from hpcad.program.instruction import Instruction, Program, Value
from hpcad.program.memory.births import Births
from hpcad.program.memory.places import Buffer, Place, outputs, reads, writes
from hpcad.program.memory.residence import Residence
from hpcad.program.views import Layout


class Storage:
    """The places of all values of a schedule.

    Parameters
    ----------
    residence : Residence
        Which memory they live in.

    Attributes
    ----------
    places : dict of Value to Place
    written : dict of Task to float
        Accumulations that their producers make themselves: the task is not run; its number is the
        factor on what was there.
    dropped : set of Group
        Copies that are not needed, because the value was born in its place.
    """

    def __init__(self, program: Program, schedule: Schedule, residence: Residence) -> None:
        self.program, self.schedule, self.residence = program, schedule, residence
        self.places: dict[Value, Place] = {}
        self.accumulated: dict[Value, float] = {}
        self.skipped: set[Any] = set()
        self.live = self._scattered()
        births = Births(self)
        births.settle()
        self._makers = births.makers
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
        """Arrays of the user that lie in memory in another way: they are copied."""
        found: dict[Value, None] = {}
        for task in self.schedule.tasks:
            for value in reads(task):
                base = self.origin(value)[0]
                if base.origin == "live" and not self.residence.holds(base.source):
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
            external = self._external(value)
            if external is not None:
                layout = Layout.of(external)
            known = self.places[value] = Place(Buffer(value.nbytes, external=external), layout)
        return known

    def buffer(self, value: Value) -> Buffer:
        return self.place(value).buffer

    def _external(self, value: Value) -> Any:
        """The array of somebody else that a value is."""
        if value.origin == "parameter":
            return self.residence.seen(value.source.array)
        if value.origin == "live" and self.residence.holds(value.source):
            return self.residence.seen(value.source)
        if value.origin == "literal":
            return self.residence.constant(value.source).reshape(value.shape)
        return None

    def owned(self) -> list[Buffer]:
        """The buffers that the program needs memory for."""
        values = [*self.program.inputs, *self.live]
        for task in self.schedule.tasks:
            if task not in self.skipped:
                values += [*reads(task), *writes(task)]
        buffers = {id(b): b for v in values if (b := self.buffer(v)).external is None}
        return list(buffers.values())

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
