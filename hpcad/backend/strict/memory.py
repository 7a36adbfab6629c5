"""Device memory: blocks, allocations of them, pools, and which of them an address lies in.

A block is poisoned (0xFF in every byte: NaN, or -1) whenever it is given out and whenever it comes
back. Its history stays with it, so memory that is given to another stream while one still works on
it is caught at its next use.
"""

from __future__ import annotations

import bisect
import itertools
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from hpcad.backend.strict.capture import Capture, Node, Span
from hpcad.backend.strict.clocks import History
from hpcad.backend.strict.counts import COUNTS
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller
from hpcad.backend.strict.streams import LOCK, current_stream

ALIGNMENT = 512  # of CuPy's pool
POISON = 0xFF
KEPT_BYTES = 64 << 20  # of freed memory in a pool; more is returned

_numbers = itertools.count(1)


class Block:
    """A piece of the host's memory that plays device memory.

    Attributes
    ----------
    bytes : ndarray, uint8
    address : int
    history : History
    allocation : Allocation or None
        Who has it now.
    pool : weakref
        Of the :class:`MemoryPool` that it comes from.
    """

    def __init__(self, nbytes: int, pool: MemoryPool) -> None:
        raw = np.empty(nbytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        self.bytes = raw[start : start + nbytes]
        self.address: int = self.bytes.ctypes.data
        self.history = History()
        self.allocation: Allocation | None = None
        self.pool = weakref.ref(pool)
        _book.add(self)

    def poison(self) -> None:
        """Overwrite everything."""
        self.bytes.fill(POISON)


class Allocation:
    """Memory that somebody was given: what is known of it, also when it was freed.

    Attributes
    ----------
    block : Block
    nbytes : int
    where : str
        File and line.
    capture : Capture or None
        In which it was made.
    alive : bool
        Whether its owner has it still.
    """

    def __init__(self, block: Block, nbytes: int, stream: int, capture: Capture | None) -> None:
        self.block, self.nbytes, self.stream, self.capture = block, nbytes, stream, capture
        self.number, self.where = next(_numbers), line_of_caller()
        self.alive = True

    def __str__(self) -> str:
        return (
            f"allocation {self.number} ({self.nbytes} bytes, made at {self.where} on stream "
            f"{self.stream})"
        )


class _Book:
    """All blocks, by address."""

    def __init__(self) -> None:
        self.addresses: list[int] = []
        self.blocks: list[Block] = []

    def add(self, block: Block) -> None:
        place = bisect.bisect(self.addresses, block.address)
        self.addresses.insert(place, block.address)
        self.blocks.insert(place, block)

    def remove(self, block: Block) -> None:
        place = bisect.bisect_left(self.addresses, block.address)
        del self.addresses[place], self.blocks[place]

    def find(self, address: int) -> Block | None:
        place = bisect.bisect(self.addresses, address) - 1
        if place < 0:
            return None
        block = self.blocks[place]
        return block if address < block.address + len(block.bytes) else None


_book = _Book()


def span_of(address: int, nbytes: int, what: str) -> Span:
    """The living allocation that bytes lie in; with the lock held.

    Raises
    ------
    StrictDeviceError
        None holds them all.
    """
    block = _book.find(address)
    if block is None:
        raise StrictDeviceError(
            f"{what} at {line_of_caller()} uses the address {address:#x}, which is none of the "
            "device: host memory, or memory that was freed; pass array.data.ptr of a device array "
            "that is kept alive"
        )
    allocation, start = block.allocation, address - block.address
    if allocation is None or not allocation.alive:
        whose = "" if allocation is None else f"{allocation}, "
        raise StrictDeviceError(
            f"{what} at {line_of_caller()} uses memory that was freed: {whose}"
            f"address {address:#x}; keep the array alive until the work is over"
        )
    if start + nbytes > allocation.nbytes:
        raise StrictDeviceError(
            f"{what} at {line_of_caller()} reaches over the end of {allocation}: {nbytes} bytes "
            f"from its byte {start} on; check the count, the strides and the type"
        )
    return Span(allocation, start, start + nbytes)


def bytes_at(address: int, nbytes: int) -> np.ndarray:
    """The storage behind device addresses, whoever has it: for arrays, which own it."""
    block = _book.find(address)
    if block is None:
        raise StrictDeviceError(f"the address {address:#x} is none of the strict device")
    start = address - block.address
    return block.bytes[start : start + nbytes]


# -- owners ---------------------------------------------------------------------------------

# Filled by __del__, which may run anywhere, also in the middle of a change of the book.
_freed: deque[Allocation] = deque()
_without_pool: deque[Block] = deque()


class Memory:
    """Owner of an allocation: it is freed with this object."""

    device_id = 0

    def __init__(self, allocation: Allocation) -> None:
        self.allocation = allocation
        self.ptr, self.size = allocation.block.address, allocation.nbytes

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.allocation.alive = False
            _freed.append(self.allocation)


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


def drain() -> None:
    """Give freed memory back to its pools; with the lock held."""
    while _freed:
        allocation = _freed.popleft()
        block = allocation.block
        if block.allocation is not allocation:
            continue
        block.poison()
        pool = block.pool()
        if pool is None:
            block.allocation = None
            _book.remove(block)
        else:
            pool.take_back(block)
    while _without_pool:
        block = _without_pool.popleft()
        block.allocation = None
        _book.remove(block)


# -- pools ----------------------------------------------------------------------------------


class MemoryPool:
    """Blocks that are used again, each by the stream that it was made for, as CuPy's pool does."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, int], list[Block]] = {}
        self._order: deque[Block] = deque()
        self._used = self._kept = 0
        self._keys: dict[int, tuple[int, int]] = {}

    def malloc(self, nbytes: int) -> MemoryPointer:
        """Memory for the current stream, poisoned.

        Raises
        ------
        StrictDeviceError
            The stream captures, and this is the default pool.
        """
        with LOCK:
            drain()
            stream = current_stream()
            if stream.capture is not None and self is default_pool:
                raise StrictDeviceError(
                    f"an allocation of {nbytes} bytes at {line_of_caller()} while stream "
                    f"{stream.ptr} captures: the default pool gives the memory to somebody else "
                    "as soon as it is free, and the graph's launch writes over it; allocate before "
                    "the capture, or with a private pool "
                    "(`with cuda.using_allocator(pool.malloc)`) that lives as long as the graph"
                )
            COUNTS.allocations += 1
            return MemoryPointer(Memory(self._allocate(nbytes, stream)), 0)

    def _allocate(self, nbytes: int, stream: Any) -> Allocation:
        key = stream.ptr, max(ALIGNMENT, -(-nbytes // ALIGNMENT) * ALIGNMENT)
        waiting = self._free.get(key)
        if waiting:
            block = waiting.pop()
            self._order.remove(block)
            self._kept -= key[1]
        else:
            block = Block(key[1], self)
            self._keys[block.address] = key
        block.poison()
        block.allocation = Allocation(block, nbytes, stream.ptr, stream.capture)
        self._used += key[1]
        if stream.capture is not None:
            # A graph finds in such memory whatever its last launch left there.
            span = Span(block.allocation, 0, len(block.bytes))
            stream.capture.add(
                stream.ptr, Node("an allocation", (), (span,), block.poison, line_of_caller())
            )
        return block.allocation

    def take_back(self, block: Block) -> None:
        """A block is free again; with the lock held."""
        key = self._keys[block.address]
        self._used -= key[1]
        self._kept += key[1]
        self._free.setdefault(key, []).append(block)
        self._order.append(block)
        while self._kept > KEPT_BYTES:
            self._return(self._order[0])

    def _return(self, block: Block) -> None:
        key = self._keys.pop(block.address)
        self._free[key].remove(block)
        self._order.remove(block)
        self._kept -= key[1]
        block.allocation = None
        _book.remove(block)

    def free_all_blocks(self, stream: Any = None) -> None:
        """Return all free blocks to the machine."""
        with LOCK:
            drain()
            for block in list(self._order):
                if stream is None or self._keys[block.address][0] == stream.ptr:
                    self._return(block)

    def used_bytes(self) -> int:
        """Bytes that somebody has."""
        with LOCK:
            drain()
            return self._used

    def free_bytes(self) -> int:
        """Bytes that nobody has."""
        return self._kept

    def total_bytes(self) -> int:
        """Bytes in the pool."""
        return self._used + self._kept

    def __del__(self) -> None:
        if not sys.is_finalizing():
            _without_pool.extend(self._order)


default_pool = MemoryPool()

Allocator = Callable[[int], Any]
_allocators = threading.local()
_default_allocator: list[Allocator] = [default_pool.malloc]


def get_allocator() -> Allocator:
    """What gives memory to this thread."""
    chosen = getattr(_allocators, "stack", None)
    return chosen[-1] if chosen else _default_allocator[0]


def set_allocator(allocator: Allocator | None = None) -> None:
    """Let ``allocator`` give memory from now on (None: the default pool)."""
    _default_allocator[0] = allocator or default_pool.malloc


@contextmanager
def using_allocator(allocator: Allocator | None = None) -> Iterator[None]:
    """Let ``allocator`` give memory to this thread for a while."""
    stack = _allocators.__dict__.setdefault("stack", [])
    stack.append(allocator or default_pool.malloc)
    try:
        yield
    finally:
        stack.pop()


def allocate(nbytes: int) -> MemoryPointer:
    """Memory by the allocator of this thread."""
    return get_allocator()(nbytes)
