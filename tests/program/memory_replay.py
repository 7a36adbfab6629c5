"""The memory of a program, followed byte by byte, without looking at its plan.

What is known of a program here is which values its tasks read and write, in their order, and where
each value lies. From that follows who must have written the bytes that a task reads, and which
bytes nobody will read again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcad.autodiff import value_of
from hpcad.program.emission import emit
from hpcad.program.fusion.groups import Group
from hpcad.program.fusion.lower import through
from hpcad.program.memory.places import outputs, reads, writes

POISON = 0xFF  # NaN as a floating-point number, -1 as an integer
NOBODY, CALLER = -2, -1


@dataclass
class Access:
    """A step of a program, and what it reads and writes.

    Attributes
    ----------
    step : Step
    number : int
        Of its task.
    reads : list of Value
    writes : list of (Value, array)
        With the part of the value that it writes.
    """

    step: object
    number: int
    reads: list
    writes: list


def made_by(task):
    """The values that a task writes; to look at numbers is to write none."""
    looks = not isinstance(task, Group) and task.instruction.name == "in_range"
    return () if looks else writes(task)


class Replay:
    """A program, step by step."""

    def __init__(self, executable):
        self.executable = executable
        self.arena = executable._arena
        self.storage = executable.storage
        self.start = self.arena.__array_interface__["data"][0]
        self.calls = {}
        tasks = enumerate(executable.schedule.tasks)
        run = iter([(i, task) for i, task in tasks if task not in self.storage.skipped])
        self.accesses = [
            Access(step, -1, [], []) if step.name == "mark" else self._access(step, *next(run))
            for step in executable.steps
        ]
        self.makers = self._makers()

    def _access(self, step, number, task):
        read = [self.base(value) for value in reads(task)]
        written = []
        for value in made_by(task):
            array = self.executable.array(value)
            if isinstance(task, Group):
                for target in task.targets:
                    if target.value is value and target.axes is None:
                        array = through(self.executable.array(value), target.way[:1])
                        written.append((self.base(value), array))
                    elif target.value is value:
                        written.append((self.base(value), array))
            else:
                written.append((self.base(value), array))
        return Access(step, number, read, written)

    def _makers(self):
        """The tasks that make each value; where a copy is left out, those of its source."""
        makers = {}
        for number, task in enumerate(self.executable.schedule.tasks):
            sources = {number}
            if task in self.storage.skipped and isinstance(task, Group):
                sources = set()
                for value in reads(task):
                    sources |= makers.get(self.base(value), set())
            for value in made_by(task):
                makers.setdefault(self.base(value), set()).update(sources)
        return makers

    def base(self, value):
        return self.storage.origin(value)[0]

    def offsets(self, array):
        """The bytes of the arena that an array consists of; none of memory that is elsewhere."""
        first = array.__array_interface__["data"][0] - self.start
        if not array.size or not np.may_share_memory(array, self.arena):
            return np.empty(0, int)
        places = np.zeros(array.shape, int)
        for axis, (n, stride) in enumerate(zip(array.shape, array.strides, strict=True)):
            steps = np.arange(n) * stride
            places += steps.reshape([-1 if a == axis else 1 for a in range(array.ndim)])
        return (first + places[..., None] + np.arange(array.itemsize)).ravel()

    def of(self, value):
        return self.offsets(self.executable.array(value))

    # -- who wrote what is read ---------------------------------------------------------------

    def mistakes(self):
        """Reads of bytes that somebody else has written last, in words."""
        owner = np.full(self.arena.size, NOBODY)
        given = [*self.executable.program.inputs, *self.storage.live]
        for value in given:
            owner[self.of(value)] = CALLER
        found = []
        for access in self.accesses:
            for value in access.reads:
                found += self._wrong(value, owner, given, access.step.text)
            for _, array in access.writes:
                owner[self.offsets(array)] = access.number
        for value in outputs(self.executable.program):
            found += self._wrong(self.base(value), owner, given, "the end")
        return found

    def _wrong(self, value, owner, given, where):
        allowed = {CALLER} if value in given else self.makers.get(value, set())
        last = set(np.unique(owner[self.of(value)]).tolist())
        return [f"{where} reads {value!r}, written by {last}, not {allowed}"] * (
            not last <= allowed
        )

    # -- what happens when nothing survives that is not needed --------------------------------

    def poisoned(self, leaves):
        """Run it with every byte destroyed that no later step needs; the leaves of its result."""
        program = self.executable
        self.arena[...] = POISON
        program._scratch[...] = POISON
        for place, leaf in zip(program._inputs, leaves, strict=True):
            np.copyto(place, value_of(leaf))
        for place, array in program._live:
            np.copyto(place, array)
        for i, access in enumerate(self.accesses):
            self._destroy(i)
            self._call(access.step)
        self._destroy(len(self.accesses))
        return [made() for made in program._outputs]

    def _call(self, step):
        if id(step) not in self.calls:
            text = emit.source("one", [step], [])
            self.calls[id(step)] = emit.function("one", text, [step])
        self.calls[id(step)]()

    def _destroy(self, number):
        """All bytes but those of values that were begun before a step, and are read from it on."""
        if not hasattr(self, "_needed"):
            self._needed = self._find_needed()
        kept = np.zeros(self.arena.size, bool)
        for begun, last, offsets in self._needed:
            if begun < number <= last:
                kept[offsets] = True
        self.arena[~kept] = POISON

    def _find_needed(self):
        program, begun, last = self.executable.program, {}, {}
        for value in (*program.inputs, *self.storage.live):
            begun[value] = -1
        for i, access in enumerate(self.accesses):
            for value in access.reads:
                last[value] = i
            for value, _ in access.writes:
                begun.setdefault(value, i)
        for value in outputs(program):
            last[self.base(value)] = len(self.accesses)
        last = self._with_parts(begun, last)
        return [(begun[v], last[v], self.of(v)) for v in begun if v in last]

    def _with_parts(self, begun, last):
        """A part that was made in its place is needed as long as the whole."""
        for task in self.executable.schedule.tasks:
            if task in self.storage.skipped and isinstance(task, Group):
                for whole in writes(task):
                    for part in reads(task):
                        part = self.base(part)
                        last[part] = max(last.get(part, -1), last.get(self.base(whole), -1))
                        begun.setdefault(part, begun.get(self.base(whole), -1))
        return last
