"""What each rank did when, in a file that Perfetto and chrome://tracing draw.

Every rank writes its own file in the Chrome trace event format (Google, "Trace Event Format", JSON
array form: https://perfetto.dev/docs/getting-started/other-formats). A rank is a process of the
picture, with a track for its phases and one for its collectives; collectives that were started and
went on while the rank computed have tracks of their own, as many as were under way together.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import IO, Any

import numpy as np

from hpcad.errors import ConfigError
from hpcad.parallel.clock import align
from hpcad.parallel.record import Call, Record, listeners
from hpcad.parallel.world import World

LIMIT = 1_000_000  # events of a rank, about 200 MB
COMPUTE, COMMUNICATION, STARTED = 0, 1, 1000  # numbers of (the first of) the tracks
_AT_ONCE = 1000  # events
_SECONDS = 1.0  # that an event waits in memory at most: what a job that is killed loses
_log = logging.getLogger("hpcad")


class Timeline:
    """A record of this rank's phases and collectives; a context manager.

    It writes as it goes, so it needs no memory to speak of, and a job that is killed loses the last
    second only. (The viewers do not miss the closing bracket.)

    Parameters
    ----------
    folder : path
        Gets ``rank-00000.json`` and so on, which replace those of an earlier run.
    world : World
    limit : int
        Most events of a rank; of later ones only the number is in the file.

    Raises
    ------
    ConfigError
        On every rank, when one of them cannot write there.

    Notes
    -----
    Entering it is collective: the clocks of the ranks are compared
    (:mod:`hpcad.parallel.clock`), so that the files can be laid over one another. Times are in
    microseconds since that moment.

    Examples
    --------
    >>> with Timeline("timeline", world) as timeline:  # doctest: +SKIP
    ...     hpcad.Trainer(model, optimizer, train, epochs=1, timeline=timeline).run()
    """

    def __init__(self, folder: str | Path, world: World, limit: int = LIMIT) -> None:
        self.path = Path(folder) / f"rank-{world.rank:05d}.json"
        self.left_out = 0
        self._world, self._left = world, limit
        self._lines: list[str] = []
        self._file: IO[str] | None = None
        self._rows = {COMMUNICATION: _Rows("communication"), STARTED: _Rows("started")}
        self._lock = threading.Lock()  # collectives may end in any thread

    def phase(self, name: str, began: float, ended: float, step: int) -> None:
        """Note a phase of this rank's program; phases may nest.

        Parameters
        ----------
        began, ended : float
            On the clock of :func:`time.perf_counter`.
        step : int
            Optimizer steps that had been taken before.
        """
        with self._lock:
            self._span(COMPUTE, _named(name, "phase"), began, ended, f'"step": {step}')

    def __enter__(self) -> Timeline:
        world, problem = self._world, None
        try:
            self._file = self._open()
        except OSError as error:
            problem = ConfigError(
                f"the timeline cannot be written to {self.path}: {error.strerror}; choose a "
                "directory that every rank can write to"
            )
        try:
            world.communicator.agree(problem, "timeline")
        except ConfigError:
            if self._file is not None:
                self._file.close()
            raise
        self._clock = align(world.communicator)
        within = f"clock within {1e6 * self._clock.error:.1f} us of rank 0's"
        self._describe("process_name", COMPUTE, name=f"rank {world.rank} on {world.host}")
        self._describe("process_labels", COMPUTE, labels=within)
        self._describe("process_sort_index", COMPUTE, sort_index=world.rank)
        self._describe("thread_name", COMPUTE, name="compute")
        self._thread = threading.get_ident()
        self._written = perf_counter()
        listeners.append(self._collective)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        listeners.remove(self._collective)
        with self._lock:
            if self.left_out:
                name = f"the file is full: {self.left_out} more events are left out"
                now = self._microseconds(perf_counter())
                self._event(ph="i", s="p", name=name, tid=COMPUTE, ts=now)
            self._write("\n]\n")
            if self._file is not None:
                self._file.close()
            self._file = None

    # -- events --------------------------------------------------------------------------------

    def _collective(self, record: Record) -> None:
        """Note a call that has ended."""
        started = record.operation.startswith("i")
        waited = record.finished - record.waiting_since
        if started and record.waiting_since == record.started:
            waited = 0.0  # it ended while the rank did something else
        what, number = record.what, f'"number": {record.sequence}'
        with self._lock:
            first = STARTED if started else COMMUNICATION
            row, new = self._rows[first].place(record.started, record.finished)
            if new:
                self._describe("thread_name", first + row, name=self._rows[first].name(row))
                self._describe("thread_sort_index", first + row, sort_index=first + row)
            text = _described(what, record.file, record.line)
            more = f'{number}, "waited_us": {round(1e6 * waited, 3)}'
            self._span(first + row, text, record.started, record.finished, more)
            if started and waited and threading.get_ident() == self._thread:
                text = _named(f"wait for {_title(what)}", "wait")
                self._span(COMPUTE, text, record.waiting_since, record.finished, number)

    def _span(self, track: int, text: str, began: float, ended: float, arguments: str) -> None:
        """Note a span; ``text`` is its beginning in JSON, up to its first arguments."""
        if self._left <= 0:
            self.left_out += 1
            return
        self._left -= 1
        # Both ends are rounded: what lies within another span still does.
        start, stop = self._microseconds(began), self._microseconds(ended)
        self._lines.append(
            f'{{"pid": {self._world.rank}, "tid": {track}, "ts": {start}, '
            f'"dur": {round(stop - start, 3)}, {text}{arguments}}}}}'
        )
        if len(self._lines) >= _AT_ONCE or ended - self._written > _SECONDS:
            self._write()

    def _describe(self, what: str, track: int, **arguments: Any) -> None:
        self._event(ph="M", name=what, tid=track, args=arguments)

    def _event(self, **fields: Any) -> None:
        self._lines.append(json.dumps({"pid": self._world.rank} | fields))

    def _microseconds(self, reading: float) -> float:
        return round(1e6 * self._clock.since(reading), 3)

    # -- the file ------------------------------------------------------------------------------

    def _open(self) -> IO[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._world.is_root:
            for path in self.path.parent.glob("rank-[0-9][0-9][0-9][0-9][0-9].json"):
                if int(path.stem[5:]) >= self._world.size:  # of an earlier run on more ranks
                    path.unlink()
        file = self.path.open("w", encoding="utf-8")
        file.write("[\n")
        return file

    def _write(self, end: str = "") -> None:
        """Empty the buffer into the file; a file that cannot be written ends the recording."""
        lines, self._lines = self._lines, []
        if self._file is None:
            return
        comma = ",\n" if self._file.tell() > 2 and lines else ""
        try:
            self._file.write(comma + ",\n".join(lines) + end)
            self._file.flush()
        except OSError as error:
            _log.warning("the timeline %s ends here: %s", self.path, error.strerror)
            self._file, self._left = None, 0
        self._written = perf_counter()


class _Rows:
    """Tracks on which spans that overlap lie side by side."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._ends: list[float] = []

    def name(self, row: int) -> str:
        return f"{self._title} {row + 1}" if row else self._title

    def place(self, began: float, ended: float) -> tuple[int, bool]:
        """The first row that is free, and whether it is new. Spans come in the order of ends."""
        for row, end in enumerate(self._ends):
            if end <= began:
                self._ends[row] = ended
                return row, False
        self._ends.append(ended)
        return len(self._ends) - 1, True


# What is the same for many events is written in JSON once: it is most of the work.
@functools.lru_cache(maxsize=4096)
def _named(name: str, kind: str, **arguments: Any) -> str:
    text = json.dumps({"ph": "X", "name": name, "cat": kind, "args": arguments})
    return text[1:-2] + (", " if arguments else "")  # its arguments go on


@functools.lru_cache(maxsize=4096)
def _described(what: Call, file: str, line: int) -> str:
    return _named(
        _title(what),
        "collective",
        call=str(what),
        communicator=what.communicator,
        count=what.count,
        bytes=what.count * _item_size(what.dtype),
        line=f"{file}:{line}",
    )


def _title(what: Call) -> str:
    return f"{what.operation} {what.name}".rstrip()


def _item_size(dtype: str) -> int:
    """Bytes of an element; JSON is counted in bytes, and a barrier has none."""
    return 1 if dtype in ("", "json") else np.dtype(dtype).itemsize
