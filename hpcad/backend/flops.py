"""A count of the floating-point operations that passed the GEMM door."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class FlopCount:
    """Floating-point operations counted inside a ``with counted_flops()`` block."""

    def __init__(self) -> None:
        self.total = 0


class _Counters(threading.local):
    def __init__(self) -> None:
        self.active: list[FlopCount] = []


_counters = _Counters()


def count_gemm(m: int, n: int, k: int, batch: int = 1) -> None:
    """Record ``batch`` products of (m, k) by (k, n): ``2 m n k`` operations each."""
    count(2 * m * n * k * batch)


def count(operations: int) -> None:
    """Record operations of what is no GEMM, but could be one, such as a convolution."""
    for counter in _counters.active:
        counter.total += operations


def counting() -> bool:
    """Whether anybody listens; lets the hot path skip the shape arithmetic."""
    return bool(_counters.active)


@contextmanager
def counted_flops() -> Iterator[FlopCount]:
    """Count the GEMM operations of this thread.

    Yields
    ------
    FlopCount
        ``total`` is valid during and after the block.
    """
    counter = FlopCount()
    _counters.active.append(counter)
    try:
        yield counter
    finally:
        _counters.active.remove(counter)
