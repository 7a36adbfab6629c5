"""Pools of device memory, and which of them a thread allocates from."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hpcad.backend.strict.blocks import (
    ALIGNMENT,
    WITHOUT_POOL,
    Allocation,
    Block,
    drain,
    give_up,
)
from hpcad.backend.strict.capture import Node, Span
from hpcad.backend.strict.counts import COUNTS
from hpcad.backend.strict.errors import line_of_caller
from hpcad.backend.strict.known import LOCK, current_stream
from hpcad.backend.strict.memory import Memory, MemoryPointer

KEPT_BYTES = 64 << 20  # of freed memory in a pool; more is returned


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
                stream.break_capture(
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
        if self is not default_pool:
            block.poison()  # graphs write there while it is free
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
        give_up(block)

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

    def __del__(self, over: Callable[[], bool] = sys.is_finalizing) -> None:
        if not over():
            WITHOUT_POOL.extend(self._order)


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
