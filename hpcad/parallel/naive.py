"""The reference communicator: what the collectives mean, in the plainest messages.

Every reduction is gathered on rank 0, combined there in rank order, and sent back. Slow on
purpose; the tests hold the other communicators to it.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from hpcad.backend.native.combine import UFUNCS
from hpcad.parallel.buffer import narrow, reducible, widen
from hpcad.parallel.mpi import MpiCommunicator
from hpcad.parallel.serial import FinishedRequest
from hpcad.parallel.uneven import blocks

_TAG = 7


class NaiveCommunicator(MpiCommunicator):
    """Every collective by point-to-point messages, the reductions through rank 0."""

    kind = "naive"

    def __init__(self, comm: MPI.Intracomm, label: str = "naive") -> None:
        super().__init__(comm, label)

    def iallreduce(  # type: ignore[override]  # it is complete at once, so it needs no MpiRequest
        self, array: np.ndarray, op: str = "sum", name: str = ""
    ) -> FinishedRequest:
        """Reduce now; the request is complete."""
        flat = reducible(array, op, "iallreduce")
        with self._door.enter("iallreduce", flat.dtype.str, flat.size, name, op):
            work = widen(flat)
            self._reduce_in_place(work, op)
            narrow(work, flat)
        return FinishedRequest()

    def _reduce_in_place(self, work: np.ndarray, op: str) -> None:
        if self.rank:
            self._send(work, 0)
        else:
            arriving = np.empty_like(work)
            for source in range(1, self.size):
                self._receive(arriving, source)
                UFUNCS[op](work, arriving, out=work)
        self._broadcast_bytes(work.view(np.uint8), 0)

    def _broadcast_bytes(self, data: np.ndarray, root: int) -> None:
        if self.rank != root:
            self._receive(data, root)
            return
        for target in range(self.size):
            if target != root:
                self._send(data, target)

    # -- blocks ----------------------------------------------------------------------------------

    def _reduce(self, work: np.ndarray, op: str, root: int) -> None:
        if self.rank != root:
            self._send(work, root)
            return
        own = work.copy()
        for source in range(self.size):
            arriving = own
            if source != root:
                arriving = np.empty_like(work)
                self._receive(arriving, source)
            if source == 0:
                work[...] = arriving
            else:
                UFUNCS[op](work, arriving, out=work)

    def _scan(self, work: np.ndarray, op: str, reverse: bool) -> None:
        before, behind = (
            (self.rank + 1, self.rank - 1) if reverse else (self.rank - 1, self.rank + 1)
        )
        if 0 <= before < self.size:
            arriving = np.empty_like(work)
            self._receive(arriving, before)
            UFUNCS[op](arriving, work, out=work)
        if 0 <= behind < self.size:
            self._send(work, behind)

    def _reduce_scatter(self, work: np.ndarray, out: np.ndarray, op: str) -> None:
        total = work.copy()
        self._reduce(total, op, 0)
        self._scatter(total.view(np.uint8) if self.rank == 0 else None, out.view(np.uint8), 0)

    def _gather(self, block: np.ndarray, whole: np.ndarray | None, root: int) -> None:
        if whole is None:
            self._send(block, root)
            return
        for source, place in enumerate(whole.reshape(self.size, -1)):
            if source == root:
                place[...] = block
            else:
                self._receive(place, source)

    def _scatter(self, whole: np.ndarray | None, block: np.ndarray, root: int) -> None:
        if whole is None:
            self._receive(block, root)
            return
        for target, piece in enumerate(whole.reshape(self.size, -1)):
            if target == root:
                block[...] = piece
            else:
                self._send(piece, target)

    def _allgather(self, block: np.ndarray, whole: np.ndarray) -> None:
        self._gather(block, whole if self.rank == 0 else None, 0)
        self._broadcast_bytes(whole, 0)

    def _alltoall(self, sent: np.ndarray, received: np.ndarray) -> None:
        for source, place in enumerate(received.reshape(self.size, -1)):
            self._scatter(sent if self.rank == source else None, place, source)

    def _alltoallv(
        self,
        sent: np.ndarray,
        counts: np.ndarray,
        received: np.ndarray,
        out_counts: np.ndarray,
    ) -> None:
        places, pieces = list(blocks(received, out_counts)), list(blocks(sent, counts))
        places[self.rank][...] = pieces[self.rank]
        for source in range(self.size):
            for target in range(self.size):
                if self.rank == source != target:
                    self._send(pieces[target], target)
                elif self.rank == target != source:
                    self._receive(places[source], source)

    def _send(self, data: np.ndarray, target: int) -> None:
        for part in self.parts(data):
            self.comm.Send(part.view(np.uint8), target, _TAG)

    def _receive(self, data: np.ndarray, source: int) -> None:
        for part in self.parts(data):
            self.comm.Recv(part.view(np.uint8), source, _TAG)
