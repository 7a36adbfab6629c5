"""Block shuffle: the order for storage that wants long reads.

Blocks of neighbouring samples (a chunk, a shard, some megabytes) come in a random order; ``window``
blocks at a time are mixed among themselves, sample by sample. So a reader touches ``window`` blocks
until their samples are used up, and each block once an epoch. How far that is from a full shuffle
is told by :meth:`BlockOrder.quality`.

Like the full shuffle it is a function of (number of samples, seed, epoch), O(1) per position: the
one block that may be shorter is found by the inverse of the permutation of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcad.data.order.global_order import check_count, check_positions
from hpcad.data.order.permutation import Permutation
from hpcad.errors import DataError


@dataclass(frozen=True)
class Quality:
    """How well samples are mixed.

    Attributes
    ----------
    window_samples : int
        Samples that are mixed among themselves.
    share : float
        The part of all samples that those are; 1 is a full shuffle.
    neighbours : float
        How many times likelier two samples of a block are to meet in a batch than in a full
        shuffle (for batches that are short beside the window).
    """

    window_samples: int
    share: float
    neighbours: float

    def __str__(self) -> str:
        return (
            f"block shuffle: {self.window_samples:,} samples ({100 * self.share:.3g} % of all) are "
            f"mixed at a time; neighbours meet in a batch {self.neighbours:.3g} times as often as "
            "in a full shuffle"
        )


@dataclass(frozen=True)
class BlockShuffle:
    """A wish for a block shuffle: what a loader takes for ``shuffle``.

    Attributes
    ----------
    block : int
        Samples of a block: those of a chunk, or some megabytes.
    window : int
        Blocks that are mixed among themselves.
    """

    block: int
    window: int = 64

    def __str__(self) -> str:
        return f"blocks of {self.block}, {self.window} at a time"


class BlockOrder:
    """Blocks in a random order, and the samples of some of them at a time; an ``Order``.

    Parameters
    ----------
    n
        Number of samples, from 1 to 2**62.
    seed
        Any integer; it is taken modulo 2**64.
    block
        Samples of a block; the last block may have fewer.
    window
        Blocks that are mixed among themselves.

    Examples
    --------
    >>> order = BlockOrder(10, seed=7, block=2, window=2)
    >>> sorted(order.ids(0, 0, 10).tolist()) == list(range(10))
    True
    """

    def __init__(self, n: int, seed: int, block: int, window: int) -> None:
        check_count(n)
        if block < 1 or window < 1:
            raise DataError(f"block and window must be at least 1, not {block} and {window}")
        self.n = n
        self.seed = seed
        self.block = min(block, n)
        self.blocks = -(-n // self.block)
        self.window = min(window, self.blocks)

    def ids(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Sample ids at the positions; see :class:`~hpcad.data.order.global_order.Order`."""
        check_positions(self.n, epoch, start, stop)
        outer = Permutation(self.blocks, self.seed, epoch)
        places = _Places(self, int(outer.inverse(np.array([self.blocks - 1]))[0]))
        parts = []
        while start < stop:
            group = places.block_at(start) // self.window
            first, end = places.begin(group * self.window), places.begin((group + 1) * self.window)
            inner = Permutation(end - first, self.seed, epoch, group + 1)
            mixed = first + inner(np.arange(start - first, min(stop, end) - first, dtype=np.int64))
            block, within = places.split(mixed)
            parts.append(outer(block) * self.block + within)
            start = min(stop, end)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def quality(self) -> Quality:
        """How well samples are mixed."""
        samples = min(self.n, self.window * self.block)
        return Quality(samples, samples / self.n, self.n / samples)


class _Places:
    """Where blocks begin in an epoch, one of which may be shorter than the others.

    Parameters
    ----------
    short
        The place, among the blocks in their order, of the one that was the last.
    """

    def __init__(self, order: BlockOrder, short: int) -> None:
        self._block, self._short, self._n = order.block, short, order.n
        self._blocks = order.blocks
        self._lacking = order.blocks * order.block - order.n

    def begin(self, place: int) -> int:
        """Position of the first sample of the block at a place."""
        place = min(place, self._blocks)
        return place * self._block - (self._lacking if place > self._short else 0)

    def block_at(self, position: int) -> int:
        """Place of the block that holds a position."""
        after = position >= self.begin(self._short + 1)
        return (position + (self._lacking if after else 0)) // self._block

    def split(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of blocks, and samples within them."""
        after = positions >= self.begin(self._short + 1)
        block, within = np.divmod(positions + after * self._lacking, self._block)
        return block, within
