"""Blocks and messages of a single rank, which go from one array to another."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from hpcad.errors import CollectiveError
from hpcad.parallel.exchanges import Exchanges


class SerialExchanges(Exchanges):
    """The hooks of :class:`~hpcad.parallel.exchanges.Exchanges` where there is one rank."""

    def _reduce(self, work: np.ndarray, op: str, root: int) -> None:
        pass

    def _scan(self, work: np.ndarray, op: str, reverse: bool) -> None:
        pass

    def _reduce_scatter(self, work: np.ndarray, out: np.ndarray, op: str) -> None:
        out[...] = work

    def _gather(self, block: np.ndarray, whole: np.ndarray | None, root: int) -> None:
        if whole is not None:
            whole[...] = block

    def _scatter(self, whole: np.ndarray | None, block: np.ndarray, root: int) -> None:
        if whole is not None:
            block[...] = whole

    def _allgather(self, block: np.ndarray, whole: np.ndarray) -> None:
        whole[...] = block

    def _alltoall(self, sent: np.ndarray, received: np.ndarray) -> None:
        received[...] = sent

    def _alltoallv(
        self,
        sent: np.ndarray,
        counts: np.ndarray,
        received: np.ndarray,
        out_counts: np.ndarray,
    ) -> None:
        received[...] = sent

    def _send_message(self, data: np.ndarray, dest: int, tag: int) -> None:
        _refuse(dest)

    def _receive_message(self, data: np.ndarray, source: int, tag: int) -> None:
        _refuse(source)

    def _exchange(
        self,
        sent: np.ndarray,
        dest: int | None,
        received: np.ndarray,
        source: int | None,
        tag: int,
    ) -> None:
        pass  # what goes to oneself has arrived


def _refuse(rank: int) -> NoReturn:
    """Messages to oneself do not come here, and others were refused before."""
    raise CollectiveError(f"a job of one rank has no rank {rank} to exchange messages with")
