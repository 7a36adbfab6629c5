"""Arguments of a program, on their way to their places in device memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.program.device.pinned import Pinned

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
        self._slots: list[Pinned] = []
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
            shape, dtype = self.place.shape, self.place.dtype
            self._slots = [Pinned(self.xp, shape, dtype) for _ in range(SLOTS)]
        slot = self._slots[self._next]
        slot.wait()  # over for long, unless the host is two steps ahead
        slot.array[...] = array
        stream = self.xp.cuda.get_current_stream()
        self.place.set(slot.array, stream=stream)
        slot.copied(stream)
        self._next = (self._next + 1) % SLOTS
