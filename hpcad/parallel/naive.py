"""The reference communicator: what the collectives mean, in the plainest messages.

Every reduction is gathered on rank 0, combined there in rank order, and sent back. Slow on
purpose; the tests hold the other communicators to it.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from hpcad.parallel.buffer import narrow, reducible, widen
from hpcad.parallel.mpi import MpiCommunicator
from hpcad.parallel.serial import FinishedRequest

_COMBINE = {"sum": np.add, "max": np.maximum, "min": np.minimum, "prod": np.multiply}
_TAG = 7


class NaiveCommunicator(MpiCommunicator):
    """Reductions and broadcasts by point-to-point messages through rank 0."""

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
                _COMBINE[op](work, arriving, out=work)
        self._broadcast_bytes(work.view(np.uint8), 0)

    def _broadcast_bytes(self, data: np.ndarray, root: int) -> None:
        if self.rank != root:
            self._receive(data, root)
            return
        for target in range(self.size):
            if target != root:
                self._send(data, target)

    def _send(self, data: np.ndarray, target: int) -> None:
        for part in self.parts(data):
            self.comm.Send(part.view(np.uint8), target, _TAG)

    def _receive(self, data: np.ndarray, source: int) -> None:
        for part in self.parts(data):
            self.comm.Recv(part.view(np.uint8), source, _TAG)
