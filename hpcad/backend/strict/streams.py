"""Streams: what is ordered behind what.

Work is done when it is given, so the device is never behind. What is checked is what the clocks
allow: a result may be used only by those who waited for it, as if every stream ran late.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any, NoReturn

from hpcad.backend.strict.capture import Capture
from hpcad.backend.strict.clocks import Clock, merge
from hpcad.backend.strict.counts import synchronised
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller
from hpcad.backend.strict.events import Event
from hpcad.backend.strict.known import DEVICE, HOST, LOCK, host_knows, set_default, stack

_numbers = itertools.count(1)
_ahead_of_null: Clock = {}  # work of blocking streams
_capturing: list[Stream] = []
_by_number: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()


class Stream:
    """A queue of work, with CuPy's interface.

    Parameters
    ----------
    null : bool
        The legacy default stream, which is ordered behind and ahead of all blocking streams.
    non_blocking : bool
        Not ordered with the null stream.
    """

    null: Stream

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: int | None = None,
    ) -> None:
        if ptds:
            raise StrictDeviceError(
                "the strict device has no per-thread default stream; make a stream with "
                "Stream(non_blocking=True)"
            )
        self.ptr = 0 if null else next(_numbers)
        self.device_id = -1 if null else 0
        self.priority = priority or 0
        self.is_non_blocking = non_blocking and not null
        self.count = 0
        self.clock: Clock = {}
        self.capture: Capture | None = None
        self._asked: Event | None = None  # by done
        self._asked_at = 0
        if null and hasattr(Stream, "null"):
            self.__dict__ = Stream.null.__dict__
        else:
            _by_number[self.ptr] = self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.ptr == self.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __repr__(self) -> str:
        return f"<Stream {self.ptr} of the strict device>"

    # -- the current stream ---------------------------------------------------------------

    def __enter__(self) -> Stream:
        stack().append(self)
        return self

    def __exit__(self, *_: object) -> None:
        stack().pop()

    def use(self) -> Stream:
        """Make it the current stream of this thread."""
        stack()[-1] = self
        return self

    # -- order ----------------------------------------------------------------------------

    def begin_work(self) -> int:
        """Number the next work, behind all that it is ordered behind; with :data:`LOCK` held."""
        self.take_in()
        self.count += 1
        self.clock[self.ptr] = DEVICE[self.ptr] = self.count
        if not self.is_non_blocking:
            merge(_ahead_of_null, self.clock)
        return self.count

    def take_in(self) -> None:
        """Know what the host knows and, for the legacy stream's sake, what blocking ones do."""
        merge(self.clock, HOST)
        if self.ptr == 0:
            for other in _capturing:
                if not other.is_non_blocking:
                    other.refuse_capture("work on the null stream, which waits for this one,")
            merge(self.clock, _ahead_of_null)
        elif not self.is_non_blocking:
            merge(self.clock, Stream.null.clock)

    def record(self, event: Event | None = None) -> Event:
        """Record an event behind all work given so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Order all later work behind an event."""
        with LOCK:
            if event.capture is not None:
                self._join(event)
            elif self.capture is None:
                merge(self.clock, event.clock)
            elif event.clock:
                raise StrictDeviceError(
                    f"stream {self.ptr} captures, and waits at {line_of_caller()} for an event "
                    "that was recorded outside of the capture; wait for it before begin_capture()"
                )

    def _join(self, event: Event) -> None:
        capture = event.capture
        assert capture is not None
        if capture.over or self.capture not in (None, capture) or self.ptr == 0:
            raise StrictDeviceError(
                f"stream {self.ptr} waits at {line_of_caller()} for an event that was recorded in "
                "a capture it has no part in; such an event orders nothing outside of its graph: "
                "record one after the graph's launch"
            )
        capture.join(self, event.clock)
        if self.capture is None:
            self.capture = capture
            _capturing.append(self)

    # -- the host -------------------------------------------------------------------------

    def synchronize(self) -> None:
        """Let the host wait for all work given so far."""
        with LOCK:
            self.refuse_capture("synchronize()")
            synchronised(f"synchronize() of stream {self.ptr}")
            self.take_in()
            host_knows(self.clock)

    @property
    def done(self) -> bool:
        """Whether all work is over: not when asked first, unless the host waited for it."""
        if self._asked is None or self._asked_at != self.count:
            self._asked, self._asked_at = self.record(), self.count
        return self._asked.done

    def refuse_capture(self, what: str) -> None:
        """Raise :class:`StrictDeviceError` while the stream captures."""
        if self.capture is not None:
            self.break_capture(
                f"{what} at {line_of_caller()}, while stream {self.ptr} captures: nothing has run, "
                "so there is nothing to wait for or to read; do it before begin_capture() or after "
                "the graph's launch"
            )

    def break_capture(self, why: str) -> NoReturn:
        """Raise :class:`StrictDeviceError` for what a capture forbids: it gives no graph."""
        if self.capture is not None:
            self.capture.fail(why)
        raise StrictDeviceError(why)

    # -- graphs ---------------------------------------------------------------------------

    def begin_capture(self, mode: int | None = None) -> None:
        """Turn work into nodes of a graph from now on, without doing it."""
        if self.ptr == 0:
            raise StrictDeviceError(
                "begin_capture() on the null stream, which CUDA cannot capture; run the work on a "
                "stream of its own: `with Stream(non_blocking=True) as s: s.begin_capture()`"
            )
        self.refuse_capture("begin_capture()")
        self.capture = Capture(self.ptr)
        self.capture.join(self, {})
        _capturing.append(self)

    def end_capture(self) -> Any:
        """Return the graph of what was given since :meth:`begin_capture`."""
        from hpcad.backend.strict.graph import finish

        return finish(self)

    def leave_capture(self) -> None:
        """The capture that it takes part in is over."""
        self.capture = None
        _capturing.remove(self)

    def is_capturing(self) -> bool:
        """Whether it captures."""
        return self.capture is not None


Stream.null = Stream(null=True)
set_default(Stream.null)


def stream_of(ptr: int) -> Stream:
    """The stream of a number, as libraries are given it."""
    try:
        return _by_number[ptr]
    except KeyError:
        raise StrictDeviceError(f"{ptr} is no stream of the strict device that lives") from None


def synchronize_device() -> None:
    """Let the host wait for all streams."""
    with LOCK:
        synchronised("synchronize() of the device")
        for stream in _capturing:
            stream.refuse_capture("synchronize() of the device")
        host_knows(DEVICE)
