"""What the host and the device know: the lock, the host's clock, and the current stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from hpcad.backend.strict.clocks import Clock, merge

if TYPE_CHECKING:
    from hpcad.backend.strict.streams import Stream

LOCK = threading.RLock()  # held by whoever gives work or memory, or waits
HOST: Clock = {}  # what the host has waited for
DEVICE: Clock = {}  # all work that was given so far
WAITED: list[Callable[[], None]] = []  # called when the host has waited for something

_null: list[Stream] = []
_local = threading.local()


def host_knows(clock: Clock) -> None:
    """The host has waited for work; with the lock held."""
    merge(HOST, clock)
    for function in WAITED:
        function()


def current_stream(device_id: int = -1) -> Stream:
    """The stream that this thread's work goes to."""
    return stack()[-1]


def stack() -> list[Stream]:
    """The current streams of this thread, the innermost last."""
    found = getattr(_local, "stack", None)
    if found is None:
        found = _local.stack = list(_null)
    return found


def set_default(stream: Stream) -> None:
    """The stream of threads that have chosen none."""
    _null[:] = [stream]
