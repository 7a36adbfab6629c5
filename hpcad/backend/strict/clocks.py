"""Who has touched which bytes when, and who knows about it: vector clocks.

Every stream numbers its work. Its clock says, for each stream, up to which number that stream's
work is known to be over before the next work of this one starts; the host has a clock, too. Two
pieces of work on the same bytes, one of which writes, must be ordered by clocks. Source: L. Lamport
(1978), F. Mattern (1989).
"""

from __future__ import annotations

from typing import NamedTuple

Clock = dict[int, int]  # number of a stream -> number of its last work that is known to be over


def merge(clock: Clock, other: Clock) -> None:
    """Let one who knows ``clock`` know ``other``, too."""
    for stream, count in other.items():
        if count > clock.get(stream, 0):
            clock[stream] = count


class Access(NamedTuple):
    """Bytes of a block, and the work that reads or writes them."""

    start: int
    stop: int
    stream: int
    number: int
    what: str


class History:
    """The accesses to a block of memory that later work must come behind."""

    __slots__ = ("reads", "writes")

    def __init__(self) -> None:
        self.reads: list[Access] = []
        self.writes: list[Access] = []

    def conflict(self, start: int, stop: int, clock: Clock, writing: bool) -> Access | None:
        """An earlier access that work with this clock is not ordered behind."""
        for earlier in self.writes:
            if _collides(earlier, start, stop, clock):
                return earlier
        if writing:
            for earlier in self.reads:
                if _collides(earlier, start, stop, clock):
                    return earlier
        return None

    def note(self, access: Access, writing: bool) -> None:
        """Remember an access that had no conflict; forget those that it comes behind."""
        start, stop = access.start, access.stop
        if writing:
            self.writes = [w for w in self.writes if not _within(w, start, stop)]
            self.reads = [r for r in self.reads if not _within(r, start, stop)]
            self.writes.append(access)
        else:
            mine = access.stream
            self.reads = [r for r in self.reads if r.stream != mine or not _within(r, start, stop)]
            self.reads.append(access)

    def forget(self, clock: Clock) -> None:
        """Drop what everybody knows to be over."""
        self.writes = [w for w in self.writes if clock.get(w.stream, 0) < w.number]
        self.reads = [r for r in self.reads if clock.get(r.stream, 0) < r.number]


def _collides(earlier: Access, start: int, stop: int, clock: Clock) -> bool:
    return (
        clock.get(earlier.stream, 0) < earlier.number
        and earlier.start < stop
        and start < earlier.stop
    )


def _within(access: Access, start: int, stop: int) -> bool:
    return start <= access.start and access.stop <= stop
