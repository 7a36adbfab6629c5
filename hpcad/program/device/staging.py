"""Arguments of a program, on their way to their places in device memory."""

from __future__ import annotations

from typing import Any

import numpy as np

SLOTS = 2  # pinned copies on their way at the same time


class Staging:
    """Copies one argument to its place, again and again.

    What lies on the host goes through pinned memory, so that the copy needs no synchronisation: a
    slot is written over only when the copy from it is known to be over, two runs later.

    Parameters
    ----------
    xp : module
        CuPy, or the strict device.
    place : device array
    """

    def __init__(self, xp: Any, place: Any) -> None:
        self.xp, self.place = xp, place
        self._slots: list[np.ndarray] = []
        self._events: list[Any] = []
        self._next = 0

    def put(self, array: Any) -> None:
        """Copy ``array`` to the place, on the current stream."""
        if self.place.size == 0:
            return
        if isinstance(array, np.ndarray | np.generic | float | int):
            self._put_host(array)
        else:
            self.place[...] = array

    def _put_host(self, array: Any) -> None:
        if not self._slots:
            self._make_slots()
        slot, event = self._slots[self._next], self._events[self._next]
        event.synchronize()  # over for long, unless the host is two steps ahead
        slot[...] = array
        stream = self.xp.cuda.get_current_stream()
        self.place.set(slot, stream=stream)
        event.record(stream)
        self._next = (self._next + 1) % SLOTS

    def _make_slots(self) -> None:
        cuda, place = self.xp.cuda, self.place
        for _ in range(SLOTS):
            memory = cuda.alloc_pinned_memory(place.nbytes)
            self._slots.append(
                np.frombuffer(memory, np.uint8, place.nbytes).view(place.dtype).reshape(place.shape)
            )
            event = cuda.Event(disable_timing=True)
            event.record(cuda.get_current_stream())
            self._events.append(event)
