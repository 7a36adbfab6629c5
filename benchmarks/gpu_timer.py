"""Times of work on a device, by events on a stream that is never short of work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from hpcad.program.cuda.launch import load
from hpcad.program.cuda.routines.hold import hold

Work = Callable[[], object]
AHEAD = 1.5  # of the time that the host needs to give the work to the device
SHORTEST = 2e-4  # seconds that the stream is held
LEAST_TURN = 5e-3  # seconds of the device between two events


class DeviceTimer:
    """Seconds of work on the current stream.

    The stream is held back until all work lies ready, so what is timed is the device and not
    the launches: an event before, the work many times over, an event behind.

    Parameters
    ----------
    xp : module
        CuPy, or the strict device, on which all times are 0.
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._events = xp.cuda.Event(), xp.cuda.Event()
        self._nanoseconds = [0]
        self._hold = load([hold()], xp)[0].bind([], self._nanoseconds)

    def seconds(self, works: Sequence[Work], repeats: int) -> float:
        """Return the mean seconds of one work, each of ``works`` done ``repeats`` times in turn."""
        stream = self.xp.cuda.get_current_stream()
        started = time.perf_counter()
        for work in works:
            work()  # also what is done at the first use
        launching = (time.perf_counter() - started) / len(works)
        stream.synchronize()
        count = repeats * len(works)
        self._nanoseconds[0] = int(1e9 * max(SHORTEST, AHEAD * launching * count))
        self._hold()
        before, behind = self._events
        before.record(stream)
        for _ in range(repeats):
            for work in works:
                work()
        behind.record(stream)
        behind.synchronize()
        return 1e-3 * self.xp.cuda.get_elapsed_time(before, behind) / count

    def repeats_for(self, works: Sequence[Work]) -> int:
        """Return how often to repeat, so that a turn is long against the events' own time."""
        self.seconds(works, 1)
        once = max(self.seconds(works, 1), 1e-7) * len(works)
        return max(1, min(200, int(LEAST_TURN / once)))


def copy_works(xp: Any, nbytes: int) -> list[Work]:
    """Return copies of so many bytes from one place of the device to another, both ways."""
    one, other = xp.zeros(nbytes, "uint8"), xp.zeros(nbytes, "uint8")

    def there() -> None:
        other[...] = one  # neighbouring bytes of one type: a plain copy by the driver

    def back() -> None:
        one[...] = other

    return [there, back]
