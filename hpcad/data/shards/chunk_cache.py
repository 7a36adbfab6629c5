"""Decoded chunks, kept within a budget of bytes: the least recently used goes for a new one.

Samples that lie in one chunk are often asked for in several batches, above all when blocks are
shuffled and then the samples within a window of them. A chunk that is still here is not read and
inflated again. Two threads that need the same chunk at once decode it once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

BUDGET = 128 * 2**20  # bytes in a process


class ChunkCache:
    """Arrays by key; those used last stay, up to ``budget`` bytes together.

    Parameters
    ----------
    budget : int
        Bytes. An array larger than this is not kept.

    Attributes
    ----------
    decoded : int
        How often something had to be made, because it was not here.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget, self.decoded = budget, 0
        self._fresh()

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What is kept under ``key``, or else what ``make()`` gives; callers must not change it.

        Raises
        ------
        Exception
            Whatever ``make`` raises; nothing is kept then.
        """
        if self._process != os.getpid():
            self._fresh()  # the threads of the parent, and what they were about to do, are not here
        with self._lock:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return found
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if (found := self._kept.get(key)) is not None:  # made while this thread waited
                    return found
            try:
                made = make()
                self._keep(key, made)
            finally:
                with self._lock:
                    self._turns.pop(key, None)
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _fresh(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._turns: dict[Hashable, threading.Lock] = {}
        self._kept: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0

    def _keep(self, key: Hashable, made: np.ndarray) -> None:
        with self._lock:
            self.decoded += 1
            if made.nbytes > self.budget or key in self._kept:
                return
            self._kept[key] = made
            self._bytes += made.nbytes
            while self._bytes > self.budget:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes


CACHE = ChunkCache()
