"""The one door that every collective passes.

Each call gets a number, its signature (operation, dtype, count, name) and the source line it came
from, and is timed. The last :data:`CAPACITY` calls of the process are kept, so that a hang or a
mismatch can be explained by what each rank did last. The cost is under 3 microseconds a call.
"""

from __future__ import annotations

import functools
import os
import sys
import zlib
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import perf_counter
from types import FrameType, TracebackType

import numpy as np

CAPACITY = 1024
_ROOM = str(Path(__file__).resolve().parent)
_PACKAGE = str(Path(__file__).resolve().parent.parent)


class Record:
    """One collective call, as this rank saw it. A context manager that times its body.

    Attributes
    ----------
    communicator : str
        Label of the communicator; ``sequence`` counts its calls from 0.
    operation, dtype, name : str
        ``dtype`` is NumPy's string (``"<f4"``), ``"json"``, or empty.
    detail : str
        The reduction, or the root; may be empty.
    count : int
        Elements; bytes of this rank's text for JSON.
    file, line
        Where the communicator's method was called from, outside of this room.
    started, finished, waiting_since : float
        On the clock of :func:`time.perf_counter`; ``finished`` is 0.0 while under way.
    """

    __slots__ = (
        "communicator",
        "count",
        "detail",
        "dtype",
        "file",
        "finished",
        "line",
        "name",
        "operation",
        "sequence",
        "started",
        "waiting_since",
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
        detail: str = "",
    ) -> None:
        self.communicator = communicator
        self.sequence = sequence
        self.operation = operation
        self.detail = detail
        self.dtype = dtype
        self.count = count
        self.name = name
        self.file = frame.f_code.co_filename
        self.line = frame.f_lineno
        self.finished = 0.0
        self.started = self.waiting_since = perf_counter()

    @property
    def seconds(self) -> float | None:
        """Wall time from call to completion, or ``None`` while under way."""
        return self.finished - self.started if self.finished else None

    @property
    def signature(self) -> tuple[int, str, str, str, int, str]:
        """What all ranks must have in common: sequence, operation, detail, dtype, count, name."""
        count = 0 if self.dtype == "json" else self.count  # each rank's text has its own length
        return (self.sequence, self.operation, self.detail, self.dtype, count, self.name)

    @property
    def fingerprint(self) -> int:
        """The signature as a number, 0 <= n < 2**63, the same in every process."""
        return _code(self.signature[1:]) << 31 | (self.sequence & 0x7FFFFFFF)

    @property
    def call(self) -> str:
        """The call as one would write it down."""
        named = f" {self.name!r}" if self.name else ""
        detail = f" {self.detail}" if self.detail else ""
        size = "" if self.dtype in ("", "json") else f" of {self.count} x {np.dtype(self.dtype)}"
        return f"{self.operation}{detail}{size}{named}"

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"

    def finish(self) -> None:
        """Stop the clock; requests call it when they complete."""
        if not self.finished:
            self.finished = perf_counter()
        _waiting.discard(self)

    def wait(self) -> None:
        """Note that the program goes on only when this call has ended."""
        self.waiting_since = perf_counter()
        _waiting.add(self)

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finished = perf_counter()
        _waiting.discard(self)

    def __repr__(self) -> str:
        state = (
            "under way" if not self.finished else f"{1e6 * (self.finished - self.started):.1f} us"
        )
        named = f" {self.name!r}" if self.name else ""
        return (
            f"<{self.communicator} #{self.sequence} {self.operation}{named} "
            f"{self.dtype}[{self.count}] at {self.place}, {state}>"
        )


@functools.lru_cache(maxsize=4096)
def _code(signature: tuple[object, ...]) -> int:
    return zlib.crc32(repr(signature).encode())


# Appending, adding and discarding are atomic: threads need no lock.
_records: deque[Record] = deque(maxlen=CAPACITY)
_waiting: set[Record] = set()


def records() -> list[Record]:
    """Return the last :data:`CAPACITY` calls of this process, oldest first."""
    return list(_records)


def longest_wait() -> Record | None:
    """Return the call for which this process has been waiting longest, if any."""
    return min(_waiting.copy(), key=lambda record: record.waiting_since, default=None)


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
    the first outside :mod:`hpcad.parallel`, which takes a short walk over frames.
    """

    def __init__(self, label: str, check: Callable[[Record], None] | None = None) -> None:
        self.label = label
        self._check = check
        self._next = count().__next__
        self._debug = os.environ.get("HPCAD_DEBUG", "") not in ("", "0")

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
        frame = _outside(sys._getframe(2), _PACKAGE if self._debug else _ROOM)
        record = Record(self.label, self._next(), operation, dtype, count, name, frame, detail)
        _records.append(record)
        if blocking:
            _waiting.add(record)
            if self._check is not None:
                self._check(record)
        return record


def _outside(frame: FrameType, folder: str) -> FrameType:
    outer: FrameType | None = frame
    while outer is not None and outer.f_code.co_filename.startswith(folder):
        outer = outer.f_back
    return outer or frame
