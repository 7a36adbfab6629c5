"""What a communicator must be able to do, so that :mod:`hpcad.parallel.exchanges` can move blocks.

Arrays are flat, C-contiguous, and of bytes, but for those that are reduced. Every rank has passed
the door with the same call when its hook runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class ExchangeHooks(ABC):
    """To be filled in by each communicator."""

    rank: int
    size: int

    @abstractmethod
    def _reduce(self, work: np.ndarray, op: str, root: int) -> None:
        """Reduce ``work`` in place on the root; leave the others as they are."""

    @abstractmethod
    def _reduce_scatter(self, work: np.ndarray, out: np.ndarray, op: str) -> None:
        """Write block ``rank`` of the reduction to ``out``; ``work`` may be overwritten."""

    @abstractmethod
    def _scan(self, work: np.ndarray, op: str, reverse: bool) -> None:
        """Reduce ``work`` in place over the ranks up to this one, or from it to the last."""

    @abstractmethod
    def _gather(self, block: np.ndarray, whole: np.ndarray | None, root: int) -> None:
        """Fill the root's ``whole``, which is None on the others."""

    @abstractmethod
    def _scatter(self, whole: np.ndarray | None, block: np.ndarray, root: int) -> None:
        """Fill ``block`` from the root's ``whole``, which is None on the others."""

    @abstractmethod
    def _allgather(self, block: np.ndarray, whole: np.ndarray) -> None:
        """Fill ``whole`` on every rank."""

    @abstractmethod
    def _alltoall(self, sent: np.ndarray, received: np.ndarray) -> None:
        """Exchange block r with rank r."""

    @abstractmethod
    def _alltoallv(
        self,
        sent: np.ndarray,
        counts: np.ndarray,
        received: np.ndarray,
        out_counts: np.ndarray,
    ) -> None:
        """Exchange blocks of so many bytes (int64, one count per rank)."""

    @abstractmethod
    def _send_message(self, data: np.ndarray, dest: int, tag: int) -> None:
        """Send to another rank."""

    @abstractmethod
    def _receive_message(self, data: np.ndarray, source: int, tag: int) -> None:
        """Receive from another rank; raise CollectiveError for another length."""

    @abstractmethod
    def _exchange(
        self,
        sent: np.ndarray,
        dest: int | None,
        received: np.ndarray,
        source: int | None,
        tag: int,
    ) -> None:
        """Both at once, with other ranks, or None for nobody."""
