"""NCCL of the stand-in for CuPy (:mod:`.stand_in_cuda`): MPI collectives in the stream's thread.

They take addresses and numbers, as NCCL's do, and run on the storage that lies there.
"""

from __future__ import annotations

import random
import time
import zlib
from types import SimpleNamespace

import numpy as np
from mpi4py import MPI

from .stand_in_streams import find, streams


class NcclError(RuntimeError):
    """What CuPy raises."""


_TYPES = ["i1", "u1", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]  # by NCCL's numbers
_OPS = [MPI.SUM, MPI.PROD, MPI.MAX, MPI.MIN]
_group: list | None = None


class NcclCommunicator:
    """NCCL's collectives by MPI. All ranks of the world must make one at the same time."""

    made: list = []  # noqa: RUF012  # for tests to look at

    def __init__(self, ndev, commId, rank, config=None):
        assert isinstance(commId, bytes)
        assert len(commId) == 128
        color = zlib.crc32(commId) & 0x7FFFFFFF
        self._comm = MPI.COMM_WORLD.Split(color, rank)
        assert self._comm.Get_size() == ndev
        assert self._comm.Get_rank() == rank
        self.fails = None
        self.aborted = self.destroyed = False
        self.launches = 0
        self.made.append(self)

    def check_async_error(self):
        if self.fails is not None:
            raise self.fails

    def abort(self):
        self.aborted = True

    def destroy(self):
        self.destroyed = True

    def _launch(self, work, stream, reads, writes, what):
        assert not self.aborted
        assert not self.destroyed
        call = (self, work, stream, reads, writes, what)
        if _group is None:
            _give([call])
        else:
            _group.append(call)

    def allReduce(self, send, receive, count, datatype, op, stream):
        source, target = memory(send, count, datatype), memory(receive, count, datatype)

        def work():
            result = source[0].copy()
            finish(self._comm.Iallreduce(MPI.IN_PLACE, result, _OPS[op]))
            target[0][...] = result

        self._launch(work, stream, [source], [target], "allReduce")

    def reduce(self, send, receive, count, datatype, op, root, stream):
        source, target = memory(send, count, datatype), memory(receive, count, datatype)

        def work():
            result = np.empty_like(source[0])
            finish(self._comm.Ireduce(source[0].copy(), result, _OPS[op], root))
            if self._comm.Get_rank() == root:
                target[0][...] = result

        self._launch(work, stream, [source], [target], "reduce")

    def broadcast(self, send, receive, count, datatype, root, stream):
        source, target = memory(send, count, datatype), memory(receive, count, datatype)

        def work():
            result = source[0].copy()
            finish(self._comm.Ibcast(result, root))
            target[0][...] = result

        self._launch(work, stream, [source], [target], "broadcast")

    def reduceScatter(self, send, receive, count, datatype, op, stream):
        size = self._comm.Get_size()
        source, target = memory(send, size * count, datatype), memory(receive, count, datatype)

        def work():
            result = np.empty_like(target[0])
            finish(self._comm.Ireduce_scatter_block(source[0].copy(), result, _OPS[op]))
            target[0][...] = result

        self._launch(work, stream, [source], [target], "reduceScatter")

    def allGather(self, send, receive, count, datatype, stream):
        size = self._comm.Get_size()
        source, target = memory(send, count, datatype), memory(receive, size * count, datatype)

        def work():
            result = np.empty_like(target[0])
            finish(self._comm.Iallgather(source[0].copy(), result))
            target[0][...] = result

        self._launch(work, stream, [source], [target], "allGather")


def memory(address, count, datatype):
    """The numbers at an address, and where they lie."""
    dtype = np.dtype(_TYPES[datatype])
    storage, (start, stop) = find(address, count * dtype.itemsize)
    return storage.bytes[start:stop].view(dtype), storage, (start, stop)


def finish(request):
    """Wait for MPI without filling a core."""
    while not request.Test():
        time.sleep(5e-5)


def _give(calls):
    pointers = {call[2] for call in calls}
    assert len(pointers) == 1
    stream = streams[pointers.pop()]
    uses = []
    for _, _, _, reads, _, _ in calls:
        uses += [(storage, span, False) for _, storage, span in reads]
    for _, _, _, _, writes, _ in calls:
        uses += [(storage, span, True) for _, storage, span in writes]

    def work():
        for call in calls:
            call[1]()

    calls[0][0].launches += 1
    stream.give(work, uses, " and ".join(call[5] for call in calls))


def groupStart():
    global _group
    assert _group is None
    _group = []


def groupEnd():
    global _group
    calls, _group = _group, None
    if calls:
        _give(calls)


def get_unique_id():
    return random.SystemRandom().randbytes(128)


_CONSTANTS = [
    "INT8",
    "UINT8",
    "INT32",
    "UINT32",
    "INT64",
    "UINT64",
    "FLOAT16",
    "FLOAT32",
    "FLOAT64",
]
nccl = SimpleNamespace(
    available=True,
    NcclError=NcclError,
    NcclCommunicator=NcclCommunicator,
    get_unique_id=get_unique_id,
    groupStart=groupStart,
    groupEnd=groupEnd,
    NCCL_SUM=0,
    NCCL_PROD=1,
    NCCL_MAX=2,
    NCCL_MIN=3,
    **{f"NCCL_{name}": number for number, name in enumerate(_CONSTANTS)},
)
