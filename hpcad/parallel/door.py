"""The one door that every collective passes.

Each call gets a number, its signature (operation, dtype, count, name) and the source line it came
from, and is timed. The last :data:`CAPACITY` calls of the process are kept, so that a hang or a
mismatch can be explained by what each rank did last. The cost is under 3 microseconds a call.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import perf_counter
from types import CodeType, FrameType
from typing import TypeVar

from hpcad.parallel.record import Call, PassRecord, Record, listeners, waiting

CAPACITY = 1024
_KINDS = 4096  # different calls that a door remembers
_ROOM = str(Path(__file__).resolve().parent)
_PACKAGE = str(Path(__file__).resolve().parent.parent)

R = TypeVar("R", bound=Record)

# What a record is made of. Short calls leave only this: a record costs a fifth of their time.
Note = tuple[Call, int, CodeType, int, float, float]

_records: deque[Record | Note] = deque(maxlen=CAPACITY)  # append is atomic: threads need no lock


def records() -> list[Record]:
    """Return the last :data:`CAPACITY` calls of this process, oldest first."""
    return [Record(*kept) if isinstance(kept, tuple) else kept for kept in tuple(_records)]


def longest_wait() -> Record | None:
    """Return the call for which this process has been waiting longest, if any."""
    for record in waiting.copy():
        record.look()
    return min(waiting.copy(), key=lambda record: record.waiting_since, default=None)


class Door:
    """The door of one communicator.

    Parameters
    ----------
    label : str
        Names the communicator in the records.
    check : callable, optional
        What every blocking call passes before it begins; see :mod:`hpcad.parallel.check`.

    Notes
    -----
    With ``HPCAD_DEBUG=1`` the recorded line is the first one outside the hpcad package; otherwise
    the first outside :mod:`hpcad.parallel`, which takes a shorter walk over frames.
    """

    def __init__(self, label: str, check: Callable[[Record], None] | None = None) -> None:
        self.label = label
        self._check = check
        self._next = count().__next__
        self._calls: dict[tuple[str, str, str, int, str], Call] = {}
        debug = os.environ.get("HPCAD_DEBUG", "") not in ("", "0")
        self._inside = _PACKAGE if debug else _ROOM

    def enter(
        self,
        operation: str,
        dtype: str,
        count: int,
        name: str,
        detail: str = "",
        blocking: bool = True,
    ) -> Record:
        """Record a call that starts now. Call it from the communicator's public method itself.

        Raises
        ------
        CollectiveError
            A blocking call is not the one that other ranks make.
        """
        record = self.record(self.call(operation, dtype, count, name, detail), sys._getframe(2))
        if blocking:
            waiting.add(record)
            if self._check is not None:
                self._check(record)
        return record

    def enter_pass(
        self,
        operation: str,
        dtype: str,
        count: int,
        name: str,
        detail: str,
        abort: Callable[[], None],
    ) -> PassRecord:
        """Record collectives that a device is about to be given, which all ranks have agreed about.

        Parameters
        ----------
        abort : callable
            Lets go of what hangs, when the watchdog ends the job because of them.
        """
        call = self.call(operation, dtype, count, name, detail)
        record = self._numbered(PassRecord, call, sys._getframe(2), 0.0)
        record.event, record._abort = None, abort
        waiting.add(record)
        return record

    def call(self, operation: str, dtype: str, count: int, name: str, detail: str) -> Call:
        """The description of a call, of which each is made once."""
        key = (operation, detail, dtype, count, name)
        known = self._calls.get(key)
        if known is None:
            if len(self._calls) >= _KINDS:
                self._calls.clear()
            known = self._calls[key] = Call(self.label, *key)
        return known

    def record(self, call: Call, frame: FrameType, started: float = 0.0) -> Record:
        """Number a call that starts now, or has started, and keep it."""
        return self._numbered(Record, call, frame, started)

    def _numbered(self, kind: type[R], call: Call, frame: FrameType, started: float) -> R:
        frame = self.outer(frame)
        record = kind(call, self._next(), frame.f_code, frame.f_lasti, started or perf_counter())
        _records.append(record)
        return record

    def note(self, call: Call, frame: FrameType, started: float) -> None:
        """Number and keep a call that is finished."""
        if frame.f_code.co_filename.startswith(self._inside):
            frame = self.outer(frame)
        note = (call, self._next(), frame.f_code, frame.f_lasti, started, perf_counter())
        _records.append(note)
        if listeners:
            record = Record(*note)
            for listen in listeners:
                listen(record)

    def outer(self, frame: FrameType) -> FrameType:
        """The innermost frame outside of this room."""
        outer: FrameType | None = frame
        while outer is not None and outer.f_code.co_filename.startswith(self._inside):
            outer = outer.f_back
        return outer or frame
