"""Memory that all ranks of a node read and write: an MPI shared-memory window."""

from __future__ import annotations

import logging
import os
import socket

import numpy as np
from mpi4py import MPI

log = logging.getLogger(__name__)

LINE = 64  # bytes of a cache line
_RESERVE = 1 << 24  # bytes that are left to others in the file system of shared memory


class SharedWindow:
    """One block of bytes of every rank of a node, each rank's visible to all.

    Collective over ``comm``, whose ranks must share memory. It lives until MPI
    is finalized, if :meth:`free` is not called.

    Parameters
    ----------
    comm : MPI.Intracomm
    nbytes : int
        Of this rank's block; the same on every rank.

    Attributes
    ----------
    blocks : list of ndarray of uint8, shape (nbytes,)
        In rank order, zeroed, each on a 64-byte boundary and in pages first touched by its rank.

    Notes
    -----
    Loads and stores of different ranks are ordered by :meth:`fence`, MPI's memory barrier
    (MPI-4.1, section 12.7 "RMA unified memory model").
    """

    def __init__(self, comm: MPI.Intracomm, nbytes: int) -> None:
        info = MPI.Info.Create()
        info.Set("alloc_shared_noncontig", "true")  # pages of one rank lie beside its core
        self._window = MPI.Win.Allocate_shared(nbytes + LINE, 1, info=info, comm=comm)
        info.Free()
        self._window.Lock_all(MPI.MODE_NOCHECK)
        self.fence = self._window.Sync
        self.blocks = [self._block(rank, nbytes) for rank in range(comm.Get_size())]
        mine = self.blocks[comm.Get_rank()]
        mine[...] = 0
        self._start = address(mine)
        self.fence()
        comm.Barrier()

    def free(self) -> None:
        """Give the memory back. Collective; nobody may look at it any more."""
        self.blocks.clear()
        self._window.Unlock_all()
        self._window.Free()

    def _block(self, rank: int, nbytes: int) -> np.ndarray:
        memory, _ = self._window.Shared_query(rank)
        block = np.frombuffer(memory, np.uint8)  # type: ignore[call-overload]  # it is one
        start = -address(block) % LINE
        return block[start : start + nbytes]

    def find(self, flat: np.ndarray) -> int | None:
        """Where a contiguous array begins in this rank's block, in bytes; None if not there."""
        offset = address(flat) - self._start
        inside = offset >= 0 and offset + flat.nbytes <= self.blocks[0].nbytes
        return offset if inside else None

    def views(self, offset: int, dtype: np.dtype, count: int) -> list[np.ndarray]:
        """The array at the same place of every rank's block."""
        stop = offset + count * dtype.itemsize
        return [block[offset:stop].view(dtype) for block in self.blocks]


def address(array: np.ndarray) -> int:
    """Of the first element."""
    return int(array.__array_interface__["data"][0])


def has_room(local: MPI.Intracomm, everyone: MPI.Intracomm, nbytes: int) -> bool:
    """Whether shared memory of every node can take so much of each of its ranks.

    Collective over ``everyone``, of whom ``local`` are those of a node; equal on all.

    Containers often mount a small ``/dev/shm``. What exceeds it ends a process by SIGBUS, not by
    an error, when it is first touched.
    """
    needed = np.array([nbytes], np.int64)
    local.Allreduce(MPI.IN_PLACE, needed, MPI.SUM)
    free = _free_bytes()
    room = np.array([needed[0] + _RESERVE <= free], np.int32)
    if not room[0] and local.Get_rank() == 0:
        log.warning(
            "%.0f MB of shared memory do not fit into /dev/shm of %s (%.0f MB are free); all ranks "
            "exchange gradients by MPI messages, which is slower. Enlarge it, e.g. with --shm-size "
            "in containers.",
            needed[0] / 1e6,
            socket.gethostname(),
            free / 1e6,
        )
    everyone.Allreduce(MPI.IN_PLACE, room, MPI.MIN)
    return bool(room[0])


def _free_bytes() -> float:
    try:
        found = os.statvfs("/dev/shm")  # where MPI libraries put their windows
    except OSError:
        return float("inf")
    return float(found.f_bavail) * found.f_frsize
