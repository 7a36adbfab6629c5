"""Pinned host memory that lives until the copy from it, or to it, is over."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np


class Pinned:
    """Host memory that the device copies by itself.

    Whoever lets go of pinned memory gives it to others, who may write there. So it waits for its
    last copy first.

    Parameters
    ----------
    xp : module
        CuPy, or the strict device.
    shape : tuple of int
    dtype : dtype

    Attributes
    ----------
    array : array
        The memory.
    """

    def __init__(self, xp: Any, shape: tuple[int, ...], dtype: Any) -> None:
        count = int(np.prod(shape, dtype=np.int64))
        nbytes = max(1, count * np.dtype(dtype).itemsize)
        memory = np.frombuffer(xp.cuda.alloc_pinned_memory(nbytes), np.uint8, nbytes)
        self.array = memory[: count * np.dtype(dtype).itemsize].view(dtype).reshape(shape)
        self._over = xp.cuda.Event(disable_timing=True)
        self._over.record(xp.cuda.get_current_stream())
        weakref.finalize(self, _wait, self._over, memory).atexit = False

    @property
    def idle(self) -> bool:
        """Whether the last copy is over."""
        return self._over.done

    def copied(self, stream: Any) -> None:
        """A copy from here, or to here, was given to a stream."""
        self._over.record(stream)

    def wait(self) -> None:
        """Wait for the last copy."""
        self._over.synchronize()


def _wait(over: Any, _memory: np.ndarray) -> None:
    if not over.done:
        over.synchronize()
