"""Progress of long work on data: a bar in a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

Say = Callable[[str], None]


class Progress:
    """Tells how much is done; this one tells every step as a line.

    Parameters
    ----------
    say : callable, optional
        Takes a line; without one nothing is told.
    seconds : float
        At least so long between two lines of the same work, except for the last.
    clock : callable
        Seconds; monotonic.
    """

    def __init__(
        self,
        say: Say | None = None,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._seconds, self._clock = say, seconds, clock
        self._origin, self._total, self._unit = "", 0, ""
        self._started = self._told = clock()
        self._first = 0

    def begin(self, origin: str, total: int, unit: str) -> None:
        """Start on `total` things called `unit` of an origin."""
        self._origin, self._total, self._unit = origin, total, unit
        self._started, self._told, self._first = self._clock(), float("-inf"), -1

    def update(self, done: int) -> None:
        """So many are done."""
        now = self._clock()
        if self._first < 0:
            self._first = done  # those of an earlier run count in the first update
        if done < self._total and now - self._told < self._seconds:
            return
        self._told = now
        self.message(f"{self._origin}: {done:,} of {self._total:,} {self._unit}{self._left(done)}")

    def end(self) -> None:
        """This work is done."""

    def message(self, line: str) -> None:
        """Tell something else."""
        if self._say:
            self._say(line)

    def _left(self, done: int) -> str:
        new, seconds = done - self._first, self._clock() - self._started
        if not self._seconds or done >= self._total or new <= 0:
            return ""
        return f", {seconds * (self._total - done) / new:.0f} s left"


class Bar(Progress):
    """A bar in a terminal, on standard error."""

    def __init__(self, say: Say) -> None:
        super().__init__(say)
        self._bar: Any = None

    def begin(self, origin: str, total: int, unit: str) -> None:
        """Draw an empty bar."""
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=origin[-40:], unit=f" {unit}", unit_scale=True)

    def update(self, done: int) -> None:
        """Draw it longer."""
        self._bar.update(done - self._bar.n)

    def end(self) -> None:
        """Leave it as it is."""
        self._bar.close()


def as_progress(given: Say | Progress | None) -> Progress:
    """A :class:`Progress` of whatever a caller gave."""
    return given if isinstance(given, Progress) else Progress(given)


def shown(say: Say, is_root: bool) -> Progress:
    """That of a command: a bar or, where there is no terminal, a line every few seconds."""
    if not is_root:
        return Progress()
    return Bar(say) if sys.stderr.isatty() else Progress(say, seconds=5.0)
