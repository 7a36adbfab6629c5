"""Memory planning: all buffers of a program in one arena."""

from __future__ import annotations

from collections.abc import Iterable

from hpcad.program.memory.places import ALIGNMENT, Buffer


def plan(buffers: Iterable[Buffer]) -> int:
    """Give every buffer its offset; two that are in use at the same time do not overlap.

    Greedy by size: the largest first, each into the lowest gap that is free during its life
    (Pisarchyk and Lee, arXiv:2001.03288).

    Returns
    -------
    int
        Size of the arena in bytes.
    """
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.nbytes, b.first)):
        buffer.offset = _gap(buffer, placed)
        placed.append(buffer)
    return max((b.offset + rounded(b.nbytes) for b in placed), default=0)


def _gap(buffer: Buffer, placed: list[Buffer]) -> int:
    """The lowest offset at which a buffer meets nobody."""
    others = [b for b in placed if b.first <= buffer.last and buffer.first <= b.last]
    offset, size = 0, rounded(buffer.nbytes)
    for other in sorted(others, key=lambda b: b.offset):
        if offset + size <= other.offset:
            break
        offset = max(offset, other.offset + rounded(other.nbytes))
    return offset


def bound(buffers: Iterable[Buffer]) -> int:
    """The least that any plan needs: the largest sum of what is in use at one time, in bytes."""
    change: dict[int, int] = {}
    for buffer in buffers:
        change[buffer.first] = change.get(buffer.first, 0) + rounded(buffer.nbytes)
        change[buffer.last + 1] = change.get(buffer.last + 1, 0) - rounded(buffer.nbytes)
    alive = most = 0
    for position in sorted(change):
        alive += change[position]
        most = max(most, alive)
    return most


def rounded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
