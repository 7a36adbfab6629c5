"""A collective on device arrays: what it waits for, and when it may be said to have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from hpcad.parallel.record import Record, waiting

if TYPE_CHECKING:
    from hpcad.parallel.devices.communicator import DeviceCommunicator


class Awaited(Protocol):
    """What the next step of a collective needs; a :class:`Request` is one."""

    def test(self) -> bool:
        """Whether it is there."""

    def wait(self) -> None:
        """Return when it is there."""


Steps = Iterator[Awaited]
"""A collective in pieces: each step hands work to the device or to MPI, and says what to await."""


def at_once(work: Callable[[], None]) -> Steps:
    """The steps of a collective that is handed to the device in one go, when its turn comes."""
    work()
    yield from ()


class OnDevice:
    """The device's work up to an event, awaited by the host.

    Parameters
    ----------
    event : cupy.cuda.Event
        Recorded.
    """

    def __init__(self, event: Any) -> None:
        self._event = event

    def test(self) -> bool:
        """Whether the device has come so far."""
        return bool(self._event.done)

    def wait(self) -> None:
        """Return when it has. The host does nothing meanwhile."""
        self._event.synchronize()


class DeviceRequest:
    """A collective that was started on a device communicator.

    Parameters
    ----------
    group : DeviceCommunicator
    record : Record
        Of the door.
    arrays : tuple
        Kept alive until the device is done with them.
    steps : iterator
        Runs only after every rank has agreed, and after the requests before it.
    ready : cupy.cuda.Event
        On the compute stream, behind whatever has written the arrays.

    Attributes
    ----------
    posted : bool
        Whether all ranks are known to mean the same.
    event : cupy.cuda.Event or None
        Behind the last piece of work, once all of it has been handed to the device.
    """

    def __init__(
        self, group: DeviceCommunicator, record: Record, arrays: Any, steps: Steps, ready: Any
    ) -> None:
        self._group, self.record, self._arrays = group, record, arrays
        self._steps, self._ready = steps, ready
        self._awaited: Awaited | None = None
        self._begun = False
        self.posted = False
        self.event: Any = None
        self.ended = False

    def post(self) -> None:
        """Take one's place behind earlier requests: all ranks have agreed."""
        self.posted = True
        self._group.enqueue(self)

    def test(self) -> bool:
        """Go on with what is under way; return whether the device has the result."""
        if not self.ended:
            self._group.advance()
        return self.ended

    def wait(self) -> None:
        """Let the compute stream go on only behind the result. The host does not wait for it.

        It does wait for the other ranks to agree, and for messages that pass through the host.
        """
        if self.event is None:
            self.record.wait()
            self._group.drive(self)
        waiting.discard(self.record)  # the program goes on
        self._group.order_behind(self)

    def proceed(self, wait: bool) -> bool:
        """Take steps as far as possible, or to the end; whether that is reached."""
        if not self._begun:
            self._begun = True
            self._group.stream.wait_event(self._ready)
        while True:
            if self._awaited is not None:
                if wait:
                    self._awaited.wait()
                elif not self._awaited.test():
                    return False
            self._awaited = next(self._steps, None)
            if self._awaited is None:
                self.event = self._group.mark(self._group.stream)
                return True

    def end_if_done(self) -> bool:
        """Stop the record's clock and let go of the arrays where the device is done."""
        if not self.ended and self.event.done:
            self.ended, self._arrays = True, None
            self.record.finish()
        return self.ended
