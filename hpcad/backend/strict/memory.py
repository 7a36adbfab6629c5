"""Owners of device memory, and pointers into it, with CuPy's interface."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hpcad.backend.strict.blocks import FREED, Allocation


class Memory:
    """Owner of an allocation: it is freed with this object."""

    device_id = 0

    def __init__(self, allocation: Allocation) -> None:
        self.allocation = allocation
        self.ptr, self.size = allocation.block.address, allocation.nbytes

    def __del__(self, over: Callable[[], bool] = sys.is_finalizing) -> None:
        if not over():
            self.allocation.alive = False
            FREED.append(self.allocation)


class UnownedMemory:
    """Memory that somebody else keeps alive.

    Parameters
    ----------
    ptr, size : int
    owner : object
        Kept alive.
    """

    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = 0) -> None:
        self.ptr, self.size, self.owner, self.device_id = ptr, size, owner, device_id


class MemoryPointer:
    """An address, and the memory that it lies in.

    Parameters
    ----------
    mem : Memory or UnownedMemory
    offset : int
    """

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset
        self.device_id = 0

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    def __int__(self) -> int:
        return self.ptr
