"""The communicator for device arrays that a GPU-aware MPI library reduces itself.

Not yet proven on a GPU. To be made only where :mod:`hpcad.parallel.devices.gpu_aware` says yes: a
library that is not GPU-aware takes the device's address for one of the host, and crashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpi4py import MPI

from hpcad.parallel.devices.communicator import DeviceCommunicator
from hpcad.parallel.devices.request import OnDevice, Steps

_OPS = {"sum": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN, "prod": MPI.PROD}
_TAKEN = "bBhHiIlLqQfd"  # half precision is not in every MPI library


class GpuAwareCommunicator(DeviceCommunicator):
    """Hands device addresses to MPI's blocking collectives, once the device has written the arrays.

    Collective. Never together with NCCL in one job: each waits for the device in its own way, and
    the two can wait for each other.

    Parameters
    ----------
    host : MpiCommunicator
    cupy : module

    Notes
    -----
    MPI knows no streams. So the host waits for the device before each call (an event, tested
    between calls), and during it. Blocking calls, because ``MPI_Iallreduce`` of device memory is
    known to crash in Open MPI. What the maximum of a NaN and a number is, MPI leaves open: the
    operation of our own that host arrays go through cannot read device memory.

    CuPy's memory must come from its default pool; ``cudaMallocAsync`` is known to confuse MPI
    libraries.
    """

    kind = "mpi"
    chunk = 1 << 30  # elements a call

    def __init__(self, host: Any, cupy: Any) -> None:
        super().__init__(host, cupy)
        self._comm = host.comm.Dup()

    def _takes(self, dtype: Any, op: str) -> bool:
        return dtype.char in _TAKEN or (dtype.char in "FD" and op in ("sum", "prod"))

    def _allreduce(self, flat: Any, op: str) -> Steps:
        yield OnDevice(self.mark(self.stream))
        for part in self._parts(flat):
            self._comm.Allreduce(MPI.IN_PLACE, part, _OPS[op])

    def _broadcast(self, data: Any, root: int) -> Steps:
        yield OnDevice(self.mark(self.stream))
        for part in self._parts(data):
            self._comm.Bcast(part, root)

    def _parts(self, flat: Any) -> Iterator[Any]:
        for start in range(0, flat.size, self.chunk):
            yield flat[start : start + self.chunk]
