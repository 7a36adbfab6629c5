"""Events: places in the work of streams, for others to wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcad.backend.strict.capture import Capture
from hpcad.backend.strict.clocks import Clock
from hpcad.backend.strict.counts import COUNTS, synchronised
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller
from hpcad.backend.strict.known import HOST, LOCK, current_stream, host_knows

if TYPE_CHECKING:
    from hpcad.backend.strict.streams import Stream


class Event:
    """A place in a stream's work, with CuPy's interface."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        self.clock: Clock = {}
        self.capture: Capture | None = None
        self._stream: Stream | None = None
        self._asked = True  # as CUDA has it: an event that was never recorded is over
        self._keeps_time = not disable_timing

    def record(self, stream: Stream | None = None) -> None:
        """Stand behind all work that a stream (the current one) was given so far."""
        stream = current_stream() if stream is None else stream
        with LOCK:
            self._stream, self._asked = stream, False
            if stream.is_capturing():
                self.capture = stream.capture
                assert self.capture is not None
                self.clock = dict(self.capture.clocks.get(stream.ptr, {}))
            else:
                stream.take_in()
                self.capture, self.clock = None, dict(stream.clock)

    @property
    def done(self) -> bool:
        """Whether the work is over: not when asked first, unless the host waited for it."""
        with LOCK:
            self._refuse_capture("done")
            if not self._asked and not self._known():
                self._asked = True
                return False
            host_knows(self.clock)
            return True

    def synchronize(self) -> None:
        """Let the host wait for it."""
        with LOCK:
            self._refuse_capture("synchronize()")
            if self._known():
                return
            stream = self._stream
            if stream is not None and self.clock.get(stream.ptr, 0) < stream.count:
                COUNTS.event_waits += 1
            else:
                synchronised("synchronize() of the last event of a stream")
            host_knows(self.clock)

    def _known(self) -> bool:
        return all(HOST.get(stream, 0) >= count for stream, count in self.clock.items())

    def _refuse_capture(self, what: str) -> None:
        if self.capture is not None:
            raise StrictDeviceError(
                f"{what} at {line_of_caller()} of an event that was recorded in a capture: it "
                "stands in a graph, and the host cannot wait for it; record one after the launch"
            )


def elapsed_time(start: Event, end: Event) -> float:
    """0 milliseconds: the strict device has no clock. It checks that a GPU could tell.

    Raises
    ------
    StrictDeviceError
        An event keeps no time, was never recorded, or the host has not waited for it.
    """
    for event in (start, end):
        event._refuse_capture("get_elapsed_time()")
        what = f"get_elapsed_time() at {line_of_caller()} of an event that "
        if not event._keeps_time:
            raise StrictDeviceError(f"{what}was made with disable_timing=True; make it without")
        if event._stream is None:
            raise StrictDeviceError(f"{what}was never recorded; record it on the stream first")
        if not event._known():
            raise StrictDeviceError(f"{what}may not be over; synchronize() the later one first")
    return 0.0
