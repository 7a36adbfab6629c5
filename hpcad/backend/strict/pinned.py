"""Pinned host memory: which bytes of the host a device may copy by itself."""

from __future__ import annotations

import bisect
import ctypes
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend.strict.blocks import POISON
from hpcad.backend.strict.known import LOCK


@dataclass
class Region:
    """Pinned bytes.

    Attributes
    ----------
    address, nbytes : int
    storage : ndarray of uint8 or None
        What holds them; None for memory that was pinned afterwards.
    freed : bool
        Whether the last array on it is gone.
    """

    address: int
    nbytes: int
    storage: np.ndarray | None
    freed: bool = False


_regions: dict[int, Region] = {}
_addresses: list[int] = []  # the same, sorted
_freed: deque[Region] = deque()  # by finalizers, which may run anywhere


class PinnedMemory(np.ndarray):
    """Bytes of the host that a device can copy by itself, as ``alloc_pinned_memory`` gives them."""

    @property
    def ptr(self) -> int:
        """Address."""
        return self.ctypes.data


def alloc_pinned_memory(nbytes: int) -> PinnedMemory:
    """Pinned memory, poisoned; it is an array of uint8 and takes part in the buffer protocol."""
    if nbytes <= 0:
        raise ValueError(f"pinned memory needs at least one byte, not {nbytes}; CUDA refuses, too")
    storage: Any = np.full(nbytes, POISON, np.uint8)
    # Arrays hold the owner, and copies on their way the storage, so that memory that is freed too
    # early can be noticed and is still there.
    owner: Any = (ctypes.c_uint8 * nbytes).from_buffer(storage)
    region = Region(storage.ctypes.data, nbytes, storage)
    weakref.finalize(owner, _free, region).atexit = False
    with LOCK:
        _add(region)
    return np.frombuffer(owner, np.uint8).view(PinnedMemory)


def pin(address: int, nbytes: int) -> None:
    """Let memory that is there already count as pinned (``cudaHostRegister``)."""
    with LOCK:
        _add(Region(address, nbytes, None))


def unpin(address: int) -> None:
    """The opposite of :func:`pin`."""
    with LOCK:
        _sweep()
        if _regions.pop(address, None) is not None:
            _addresses.remove(address)


def region_of(array: np.ndarray) -> Region | None:
    """The region that all bytes of a contiguous array lie in, if they are pinned."""
    _sweep()
    address = array.ctypes.data
    place = bisect.bisect(_addresses, address) - 1
    if place < 0:
        return None
    region = _regions[_addresses[place]]
    return region if address + array.nbytes <= region.address + region.nbytes else None


def is_pinned(array: np.ndarray) -> bool:
    """Whether all bytes of a contiguous array are pinned."""
    return region_of(array) is not None


def _add(region: Region) -> None:
    _sweep()
    if region.address not in _regions:
        bisect.insort(_addresses, region.address)
    _regions[region.address] = region


def _free(region: Region) -> None:
    region.freed = True
    _freed.append(region)


def _sweep() -> None:
    """Forget regions that were freed."""
    while _freed:
        region = _freed.popleft()
        if _regions.get(region.address) is region:
            del _regions[region.address]
            _addresses.remove(region.address)
