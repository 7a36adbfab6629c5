"""Blocks of device memory, who has them, and which of them an address lies in.

A block is poisoned (0xFF in every byte: NaN, or -1) whenever it is given out and whenever it comes
back. Its history stays with it, so memory that is given to another stream while one still works on
it is caught at its next use.
"""

from __future__ import annotations

import bisect
import itertools
import weakref
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from hpcad.backend.strict.capture import Capture, Span
from hpcad.backend.strict.clocks import History
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller

if TYPE_CHECKING:
    from hpcad.backend.strict.pools import MemoryPool

ALIGNMENT = 512  # of CuPy's pool
POISON = 0xFF

_numbers = itertools.count(1)

# Filled by __del__, which may run anywhere, also in the middle of a change of the book.
FREED: deque[Allocation] = deque()
WITHOUT_POOL: deque[Block] = deque()


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
        self.poison()
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


def give_up(block: Block) -> None:
    """Return a block to the machine."""
    block.allocation = None
    _book.remove(block)


def drain() -> None:
    """Give freed memory back to its pools; with the lock held."""
    while FREED:
        allocation = FREED.popleft()
        block = allocation.block
        if block.allocation is not allocation:
            continue
        block.poison()
        pool = block.pool()
        if pool is None:
            give_up(block)
        else:
            pool.take_back(block)
    while WITHOUT_POOL:
        block = WITHOUT_POOL.popleft()
        give_up(block)
