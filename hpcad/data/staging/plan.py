"""Who copies what: the plan of a stage, which every rank makes for itself from the same facts.

The ranks that are the l-th of their nodes form ring l. Pieces of files are dealt to the rings in
turn, and within a ring to its members, so that each of N nodes reads 1/N of the bytes, each of its
ranks a part of that, and nobody reads what another one reads. In each turn every member of a ring
reads one piece; then the pieces go around, each rank passing to the next node what it has just
received. After N - 1 steps all nodes have all N pieces: every link carries one piece at a time in
each step, and no node sends a piece more than once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

PIECE_BYTES = 4 * 2**20
BATCH_BYTES = 2**30


@dataclass(frozen=True)
class Piece:
    """Some bytes of a file.

    Attributes
    ----------
    file : int
        Number of the shard.
    offset, length : int
    """

    file: int
    offset: int
    length: int


@dataclass(frozen=True)
class Nodes:
    """Which rank is on which node.

    Attributes
    ----------
    ranks : tuple of tuple of int
        The ranks of each node, ascending.
    """

    ranks: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, numbers: Sequence[int]) -> Nodes:
        """From the number that each rank gives its node; any numbers, in any order."""
        found: dict[int, list[int]] = {}
        for rank, number in enumerate(numbers):
            found.setdefault(number, []).append(rank)
        return cls(tuple(tuple(found[number]) for number in sorted(found)))

    def index(self, rank: int) -> int:
        """The node of a rank, from 0."""
        return next(i for i, ranks in enumerate(self.ranks) if rank in ranks)

    def rings(self) -> list[tuple[int, ...]]:
        """Ring l has the l-th rank of each node; as many as the smallest node has ranks."""
        return list(zip(*self.ranks, strict=False))


def pieces(sizes: Sequence[int], files: Sequence[int], most: int = PIECE_BYTES) -> list[Piece]:
    """Cut files into pieces of `most` bytes; the last of each may be shorter."""
    return [
        Piece(file, start, min(most, sizes[file] - start))
        for file in files
        for start in range(0, sizes[file], most)
    ]


def turns(all_pieces: Sequence[Piece], group: int, groups: int, members: int) -> list[list[Piece]]:
    """What a group copies, turn after turn; member m reads the m-th piece of each.

    Parameters
    ----------
    all_pieces : sequence of Piece
    group, groups : int
        This group, among those that share the pieces.
    members : int
        Of this group; 0 for a rank that belongs to none. In the last turn there may be fewer
        pieces.
    """
    if not members:
        return []
    mine = all_pieces[group::groups]
    return [list(mine[start : start + members]) for start in range(0, len(mine), members)]


def batches(sizes: Sequence[int], files: Sequence[int], most: int = BATCH_BYTES) -> list[list[int]]:
    """Files that are copied, compared and recorded together: about `most` bytes, or one file.

    What is copied before a job is killed is lost up to the end of its batch.
    """
    found: list[list[int]] = []
    room = 0
    for file in files:
        if not found or sizes[file] > room:
            found.append([])
            room = most
        found[-1].append(file)
        room -= sizes[file]
    return found


def owners(sizes: Sequence[int], nodes: int) -> np.ndarray:
    """The node of each file when each node has a part: contiguous, and of about equal bytes.

    A file belongs to the node in whose share of all bytes its middle lies.

    Returns
    -------
    ndarray of int64, shape (files,)
    """
    bytes_of = np.asarray(sizes, np.float64)
    middles = np.cumsum(bytes_of) - bytes_of / 2
    shares = middles * nodes / max(bytes_of.sum(), 1.0)
    return np.minimum(shares.astype(np.int64), nodes - 1)


def to_text(files: Iterable[int], count: int) -> str:
    """Some of `count` files as a short text: a bit for each, in hexadecimal."""
    bits = np.zeros(count, bool)
    bits[list(files)] = True
    return np.packbits(bits).tobytes().hex() if bits.any() else ""


def from_text(text: str, count: int) -> np.ndarray:
    """What :func:`to_text` wrote: bool, shape (count,)."""
    data = np.frombuffer(bytes.fromhex(text), np.uint8)
    return np.unpackbits(data, count=count).astype(bool) if text else np.zeros(count, bool)
