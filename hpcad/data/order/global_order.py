"""The global order of samples: a pure function of (number of samples, seed, epoch).

Position ``p`` of an epoch holds sample ``permutation(p)`` (:mod:`hpcad.data.order.permutation`).
Any position costs O(1) time and memory, no rank holds a permutation of all samples, and neither the
number of ranks nor a restart can change the order.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hpcad.data.order.permutation import Permutation
from hpcad.errors import DataError

LARGEST = 2**62


class Order(Protocol):
    """What a loader follows.

    Attributes
    ----------
    n : int
        Samples of an epoch.
    """

    @property
    def n(self) -> int: ...

    def ids(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Sample ids at positions ``start`` to ``stop`` (excluded) of an epoch, as int64.

        A function of its arguments: what was asked before does not matter.

        Raises
        ------
        DataError
            If the positions are not within ``0 <= start <= stop <= n``, or the epoch is negative.
        """


class GlobalOrder:
    """All samples once an epoch, in a random order or in their own; an :class:`Order`.

    Parameters
    ----------
    n
        Number of samples, from 1 to 2**62.
    seed
        Any integer; it is taken modulo 2**64.
    shuffle
        ``False`` gives the natural order in every epoch.

    Examples
    --------
    >>> order = GlobalOrder(10, seed=7)
    >>> sorted(order.ids(0, 0, 10).tolist()) == list(range(10))
    True
    """

    def __init__(self, n: int, seed: int, shuffle: bool = True) -> None:
        check_count(n)
        self.n = n
        self.seed = seed
        self.shuffle = shuffle

    def ids(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Sample ids at the positions; see :class:`Order`."""
        check_positions(self.n, epoch, start, stop)
        positions = np.arange(start, stop, dtype=np.int64)
        return Permutation(self.n, self.seed, epoch)(positions) if self.shuffle else positions


def check_count(n: int) -> None:
    """Raise :class:`DataError` unless an order can have so many samples."""
    if not 1 <= n <= LARGEST:
        raise DataError(f"an order needs from 1 to 2**62 samples, not {n}")


def check_positions(n: int, epoch: int, start: int, stop: int) -> None:
    """Raise :class:`DataError` unless the positions exist."""
    if not 0 <= start <= stop <= n or epoch < 0:
        raise DataError(
            f"positions {start} to {stop} of epoch {epoch} do not exist in an order of {n}"
        )
