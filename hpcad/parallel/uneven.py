"""The exchange of blocks of different lengths: each rank sends what it has for each other one.

It moves by messages between the pairs of ranks that have something for each other, so a rank that
talks to few others pays for few, and no count must fit into 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hpcad.errors import CollectiveError, ShapeError
from hpcad.parallel.buffer import flat_view, readable_view
from hpcad.parallel.door import Door
from hpcad.parallel.exchange_hooks import ExchangeHooks

Counts = Sequence[int] | np.ndarray


class UnevenExchanges(ExchangeHooks):
    """The public method; see :class:`~hpcad.parallel.communicator.Communicator`."""

    _door: Door
    _checks: bool = False

    def alltoallv(
        self,
        array: np.ndarray,
        counts: Counts,
        out: np.ndarray,
        out_counts: Counts,
        name: str = "",
    ) -> None:
        """Send ``counts[r]`` elements to rank r, and receive ``out_counts[r]`` from there.

        The blocks lie behind one another in rank order, in ``array`` and in ``out``.

        Raises
        ------
        ShapeError
            The counts do not divide an array into a block for each rank, or dtypes differ.
        CollectiveError
            On every rank, where one expects another count than it is sent.
        """
        sent, received = readable_view(array, "alltoallv"), flat_view(out, "alltoallv")
        given = self._counts_of(sent, counts, "sends")
        taken = self._counts_of(received, out_counts, "receives")
        if sent.dtype != received.dtype:
            raise ShapeError(
                f"alltoallv sends {sent.dtype} and receives {received.dtype}; use one dtype"
            )
        # The number of elements is each rank's own affair, so it is no part of the call.
        with self._door.enter("alltoallv", sent.dtype.str, 0, name):
            if self._checks or self.size == 1:
                self._compare_counts(given, taken)
            size = sent.dtype.itemsize
            data, place = sent.view(np.uint8), received.view(np.uint8)
            self._alltoallv(data, given * size, place, taken * size)

    def _counts_of(self, flat: np.ndarray, counts: Counts, verb: str) -> np.ndarray:
        found = np.asarray(counts)
        fits = found.shape == (self.size,) and found.dtype.kind in "iu"
        if not fits or (found < 0).any() or int(found.sum()) != flat.size:
            raise ShapeError(
                f"alltoallv {verb} {flat.size} elements in blocks of {np.ravel(found).tolist()}; "
                f"give {self.size} counts (one per rank) that add up to the size of the array"
            )
        return found.astype(np.int64)

    def _compare_counts(self, given: np.ndarray, taken: np.ndarray) -> None:
        """Raise on every rank where a receiver expects another count than its sender has."""
        told = np.empty_like(taken)
        self._alltoall(given.view(np.uint8), told.view(np.uint8))
        wrong = np.flatnonzero(told != taken)
        source = int(wrong[0]) if wrong.size else -1
        mine = np.array([source, told[source], taken[source]], np.int64)
        every = np.empty((self.size, 3), np.int64)
        self._allgather(mine.view(np.uint8), every.reshape(-1).view(np.uint8))
        bad = np.flatnonzero(every[:, 0] >= 0)
        if bad.size:
            sender, comes, expected = every[bad[0]].tolist()
            raise CollectiveError(
                f"alltoallv: rank {bad[0]} expects {expected} elements from rank {sender}, which "
                f"sends {comes}; what one rank gives as counts, the others must give as out_counts"
            )


def blocks(flat: np.ndarray, counts: np.ndarray) -> Iterator[np.ndarray]:
    """The blocks of an array, in rank order."""
    stops = np.cumsum(counts)
    for stop, count in zip(stops.tolist(), counts.tolist(), strict=True):
        yield flat[stop - count : stop]
