"""A stretch of the tape that is dropped and run again when the cotangents come back to it.

Recomputation replaces the records of a function by a single one. Its inputs are the slots that
the function took from outside (arguments, closures and parameters alike), its outputs those that
the function returned. The rule of that record runs the function again on the same tape, pulls the
new records, and removes them.
"""

from __future__ import annotations

import contextvars
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hpcad.autodiff.forward import ForwardTrace
from hpcad.autodiff.guard import Guard
from hpcad.autodiff.keep import REVERSE
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tape import NEVER, NO_SLOT, Record, Tape
from hpcad.autodiff.tensor import AMBIENT, Tensor
from hpcad.errors import DifferentiationError

_BACKWARD_INSIDE = (
    "backward() was called inside a function that is to be recomputed, on the record of which it "
    "is a part; call it outside, or use hpcad.grad inside"
)


class Stretch:
    """The records that a tape gains from now on."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.start = len(tape.records)
        self.first = tape._slots
        self._list = tape.records

    @property
    def grown(self) -> bool:
        return self.tape._slots > self.first

    @property
    def length(self) -> int:
        if self.tape.records is not self._list:
            raise DifferentiationError(_BACKWARD_INSIDE)
        return len(self.tape.records) - self.start

    def externals(self) -> set[int]:
        """The slots that the records take from before the stretch; parameters among them."""
        first = self.first
        records = self.tape.records[self.start :]
        return {s for record in records for s in record[2] if s < first and s != NO_SLOT}

    def guards(self) -> list[Guard]:
        """The guards of the arrays that the records captured and that are still alive."""
        found = self.tape.guards
        slots = range(self.first, self.tape._slots) if found else ()
        return alive(guard for slot in slots for guard in found.get(slot, ()))

    def drop(self) -> None:
        """Remove the records, and every slot that was made since the stretch began."""
        tape = self.tape
        if tape.records is self._list:
            del tape.records[self.start :]
            del tape._live[self.start :]
        for slot in range(self.first, tape._slots):
            tape.avals.pop(slot, None)
            tape.guards.pop(slot, None)


def alive(guards: Iterable[Guard]) -> list[Guard]:
    """Each guard once; an array that nobody else holds cannot change any more."""
    return list({id(g): g for g in guards if g.array() is not None}.values())


def put_record(
    tape: Tape,
    at: int,
    primitive: Primitive,
    outputs: Sequence[tuple[Tensor, int]],
    externals: Iterable[int],
    guards: Iterable[Guard],
    segment: Any,
) -> list[int]:
    """Insert the record that stands for a dropped stretch; returns its input slots.

    The outputs are tensors and their slots: item assignment may have moved a tensor on.
    """
    ins = sorted(externals)
    out = tuple([slot for _, slot in outputs])
    for x, slot in outputs:
        tape.avals[slot] = (x.shape, x.dtype)
    # The values of parameters count as kept: running again with others would be wrong.
    args = [tape.leaves[-2 - slot] if slot < NO_SLOT else None for slot in ins]
    record: Record = (primitive, out, ins, None, args, None, {"segment": segment})
    tape.records.insert(at, record)
    if tape.level == AMBIENT:
        tape._live.insert(at, tuple([weakref.ref(x) for x, _ in outputs]))
    found = tuple(guards)
    if found:
        tape.guards[out[0]] = found
    return ins


def can_shorten(tape: Tape) -> bool:
    """Whether the tape is walked backwards only; others need, or show, every record."""
    return tape.purpose == REVERSE


@contextmanager
def unpruned(tape: Tape) -> Iterator[None]:
    """Keep the places of the tape's records as they are."""
    before, tape._prune_at = tape._prune_at, NEVER
    try:
        yield
    finally:
        tape._prune_at = before


# -- running again ---------------------------------------------------------------------------


class Surroundings:
    """What a function finds around itself: context variables, and the depth of transforms."""

    def __init__(self) -> None:
        self.context = contextvars.copy_context()
        self.depth = STATE.depth
        # Of the first run; they are over when it is run again, and collectives ask who follows.
        self.tangents = [trace for trace in STATE.traces if isinstance(trace, ForwardTrace)]
        self.recording = STATE.recording
        self.checking = STATE.guarding

    @contextmanager
    def again(self, tape: Tape) -> Iterator[None]:
        """Let ``tape`` record as it did, though a backward pass may be under way on it."""
        before = STATE.depth, STATE.recording, STATE.guarding, STATE.ambient, STATE.repeating
        spent, tape.spent = tape.spent, False
        STATE.depth = max(STATE.depth, self.depth)
        STATE.guarding = False  # what is captured now is needed now
        STATE.recording = self.recording
        STATE.repeating = True
        if tape.level == AMBIENT:
            STATE.ambient = weakref.ref(tape)
        count = len(STATE.traces)
        STATE.traces += [tape, *(trace for trace in self.tangents if trace.level > tape.level)]
        try:
            with unpruned(tape):
                yield
        finally:
            del STATE.traces[count:]
            STATE.depth, STATE.recording, STATE.guarding, STATE.ambient, STATE.repeating = before
            tape.spent = spent
