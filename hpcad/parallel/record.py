"""What is kept of one collective call."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from types import CodeType, TracebackType
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Call:
    """What all ranks must have in common, but for how many calls came before."""

    communicator: str
    operation: str
    detail: str
    dtype: str
    count: int
    name: str
    code: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        count = 0 if self.dtype == "json" else self.count  # each rank's text has its own length
        said = (self.operation, self.detail, self.dtype, count, self.name)
        object.__setattr__(self, "code", zlib.crc32(repr(said).encode()) << 31)

    def __str__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        detail = f" {self.detail}" if self.detail else ""
        size = "" if self.dtype in ("", "json") else f" of {self.count} x {np.dtype(self.dtype)}"
        return f"{self.operation}{detail}{size}{named}"


# Calls that the program cannot go on without. Adding and discarding are atomic.
waiting: set[Record] = set()
# Called with every record that is finished, in whichever thread that happens.
listeners: list[Callable[[Record], None]] = []


class Record:
    """One collective call, as this rank saw it. A context manager that times its body.

    Attributes
    ----------
    what : Call
    sequence : int
        Counts the calls of the communicator from 0.
    started, finished, waiting_since : float
        On the clock of :func:`time.perf_counter`; ``finished`` is 0.0 while under way.
    on_device : bool
        Whether the host goes on meanwhile.
    """

    on_device = False
    __slots__ = ("_at", "_code", "finished", "sequence", "started", "waiting_since", "what")

    def __init__(
        self,
        what: Call,
        sequence: int,
        code: CodeType,
        at: int,
        started: float,
        finished: float = 0.0,
    ) -> None:
        self.what = what
        self.sequence = sequence
        self._code = code
        self._at = at
        self.started = self.waiting_since = started
        self.finished = finished

    @property
    def communicator(self) -> str:
        """Label of the communicator."""
        return self.what.communicator

    @property
    def operation(self) -> str:
        """The method."""
        return self.what.operation

    @property
    def detail(self) -> str:
        """The reduction, or the root; may be empty."""
        return self.what.detail

    @property
    def dtype(self) -> str:
        """NumPy's string (``"<f4"``), ``"json"``, or empty."""
        return self.what.dtype

    @property
    def count(self) -> int:
        """Elements; bytes of this rank's text for JSON."""
        return self.what.count

    @property
    def name(self) -> str:
        """What the program calls it."""
        return self.what.name

    @property
    def file(self) -> str:
        """Where the communicator's method was called from, outside of this room."""
        return self._code.co_filename

    @property
    def line(self) -> int:
        """Of the call. (Frames know the instruction; its line takes a search, made here.)"""
        found = (line for start, stop, line in self._code.co_lines() if start <= self._at < stop)
        return next(found, None) or self._code.co_firstlineno

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"

    @property
    def call(self) -> str:
        """The call as one would write it down."""
        return str(self.what)

    @property
    def seconds(self) -> float | None:
        """Wall time from call to completion, or ``None`` while under way."""
        return self.finished - self.started if self.finished else None

    @property
    def signature(self) -> tuple[int, str, str, str, int, str]:
        """What all ranks must have in common: sequence, operation, detail, dtype, count, name."""
        what = self.what
        count = 0 if what.dtype == "json" else what.count
        return (self.sequence, what.operation, what.detail, what.dtype, count, what.name)

    @property
    def fingerprint(self) -> int:
        """The signature as a number, 0 <= n < 2**63, the same in every process."""
        return self.what.code | (self.sequence & 0x7FFFFFFF)

    def wait(self) -> None:
        """Note that the program goes on only when this call has ended."""
        self.waiting_since = perf_counter()
        waiting.add(self)

    def finish(self) -> None:
        """Stop the clock; requests call it when they complete."""
        if not self.finished:
            self.finished = perf_counter()
            for listen in listeners:
                listen(self)
        waiting.discard(self)

    def look(self) -> bool:
        """Whether it has ended, as far as one can tell without waiting."""
        return bool(self.finished)

    def give_up(self) -> None:
        """The job ends because of this call: let go of what hangs."""

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()

    def __repr__(self) -> str:
        seconds = self.seconds
        state = "under way" if seconds is None else f"{1e6 * seconds:.1f} us"
        named = f" {self.name!r}" if self.name else ""
        return (
            f"<{self.communicator} #{self.sequence} {self.operation}{named} "
            f"{self.dtype}[{self.count}] at {self.place}, {state}>"
        )


class PassRecord(Record):
    """Collectives that a device carries out by itself, behind one another.

    The host looks now and then whether they are over; so its clock shows when that was noticed, and
    nobody is told who draws timelines.

    Attributes
    ----------
    event : event or None
        Behind all of them, once they are with the device.
    """

    on_device = True
    __slots__ = ("_abort", "event")

    event: Any
    _abort: Callable[[], None] | None

    def look(self) -> bool:
        """Ask the event; any thread may."""
        event = self.event
        if not self.finished and event is not None and event.done:
            self.finish()
        return bool(self.finished)

    def finish(self) -> None:
        """Stop the clock, and let go of the communicator, which may end before this record."""
        self.finished = self.finished or perf_counter()
        self.event = self._abort = None
        waiting.discard(self)

    def give_up(self) -> None:
        """Abort the communicator: that frees kernels which wait for other ranks."""
        abort = self._abort
        if abort is not None:
            abort()
