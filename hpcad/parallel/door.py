"""The one door that every collective passes.

Each call gets a number, its signature (operation, dtype, count, name) and the source line it came
from, and is timed. The last :data:`CAPACITY` calls of the process are kept, so that a hang or a
mismatch can be explained by what each rank did last. The cost is under 3 microseconds a call.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from itertools import count
from pathlib import Path
from time import perf_counter
from types import FrameType, TracebackType

CAPACITY = 1024
_PACKAGE = str(Path(__file__).resolve().parent.parent)


class Record:
    """One collective call, as this rank saw it. A context manager that times its body.

    Attributes
    ----------
    communicator : str
        Label of the communicator; ``sequence`` counts its calls from 0.
    operation, dtype, name : str
        ``dtype`` is NumPy's string (``"<f4"``), ``"json"``, or empty.
    count : int
        Elements; bytes of this rank's text for JSON.
    file, line
        Where the communicator's method was called from.
    started, finished : float
        On the clock of :func:`time.perf_counter`; ``finished`` is 0.0 while under way.
    """

    __slots__ = (
        "communicator",
        "count",
        "dtype",
        "file",
        "finished",
        "line",
        "name",
        "operation",
        "sequence",
        "started",
    )

    def __init__(
        self,
        communicator: str,
        sequence: int,
        operation: str,
        dtype: str,
        count: int,
        name: str,
        frame: FrameType,
    ) -> None:
        self.communicator = communicator
        self.sequence = sequence
        self.operation = operation
        self.dtype = dtype
        self.count = count
        self.name = name
        self.file = frame.f_code.co_filename
        self.line = frame.f_lineno
        self.finished = 0.0
        self.started = perf_counter()

    @property
    def seconds(self) -> float | None:
        """Wall time from call to completion, or ``None`` while under way."""
        return self.finished - self.started if self.finished else None

    @property
    def signature(self) -> tuple[int, str, str, int, str]:
        """What all ranks must have in common: sequence, operation, dtype, count, name."""
        return (self.sequence, self.operation, self.dtype, self.count, self.name)

    def finish(self) -> None:
        """Stop the clock; requests call it when they complete."""
        if not self.finished:
            self.finished = perf_counter()

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finished = perf_counter()

    def __repr__(self) -> str:
        state = (
            "under way" if not self.finished else f"{1e6 * (self.finished - self.started):.1f} us"
        )
        named = f" {self.name!r}" if self.name else ""
        return (
            f"<{self.communicator} #{self.sequence} {self.operation}{named} "
            f"{self.dtype}[{self.count}] at {self.file}:{self.line}, {state}>"
        )


_records: deque[Record] = deque(maxlen=CAPACITY)  # append is atomic: threads need no lock


def records() -> list[Record]:
    """Return the last :data:`CAPACITY` calls of this process, oldest first."""
    return list(_records)


class Door:
    """The door of one communicator.

    Parameters
    ----------
    label : str
        Names the communicator in the records.

    Notes
    -----
    With ``HPCAD_DEBUG=1`` the recorded line is the first one outside the hpcad package; otherwise
    the line that called the communicator, which costs no walk over frames.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._next = count().__next__
        self._debug = os.environ.get("HPCAD_DEBUG", "") not in ("", "0")

    def enter(self, operation: str, dtype: str, count: int, name: str) -> Record:
        """Record a call that starts now. Call it from the communicator's public method itself."""
        frame = sys._getframe(2)
        if self._debug:
            frame = _outside(frame)
        record = Record(self.label, self._next(), operation, dtype, count, name, frame)
        _records.append(record)
        return record


def _outside(frame: FrameType) -> FrameType:
    outer: FrameType | None = frame
    while outer is not None and outer.f_code.co_filename.startswith(_PACKAGE):
        outer = outer.f_back
    return outer or frame
