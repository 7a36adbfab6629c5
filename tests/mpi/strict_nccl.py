"""A stand-in for NCCL on the strict device: MPI collectives on its memory. It proves no GPU.

It takes addresses and numbers, as NCCL does, and knows what NCCL asks of graphs:

- a communicator is captured only after a collective that was not;
- while some stream captures, a collective on a stream that has no part in the capture would run at
  once, and never again: a fork is missing;
- ranks that launch different collectives are told so (NCCL hangs, or adds wrong numbers);
- it must not be destroyed while a graph holds collectives of it, nor launched afterwards.

Where it waits for other ranks, other threads may use the strict device, as they may use a GPU.
"""

from __future__ import annotations

import random
import threading
import weakref
import zlib
from types import SimpleNamespace

import numpy as np
from mpi4py import MPI

from hpcad.backend import strict
from hpcad.backend.strict import StrictDeviceError
from hpcad.backend.strict.known import LOCK
from hpcad.backend.strict.streams import stream_of

_TYPES = ["i1", "u1", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]  # by NCCL's numbers
_OPS = [MPI.SUM, MPI.PROD, MPI.MAX, MPI.MIN]
_others = threading.Condition(LOCK)
_group: list | None = None


class NcclError(RuntimeError):
    """What CuPy raises."""


class NcclCommunicator:
    """NCCL's collectives by MPI. All ranks of the world must make one at the same time."""

    made: list = []  # noqa: RUF012  # for tests to look at
    refuses_capture = ""  # what CUDA says

    def __init__(self, ndev, commId, rank, config=None):
        assert isinstance(commId, bytes)
        assert len(commId) == 128
        self._comm = MPI.COMM_WORLD.Split(zlib.crc32(commId) & 0x7FFFFFFF, rank)
        assert (self._comm.Get_size(), self._comm.Get_rank()) == (ndev, rank)
        self.fails = None
        self.aborted = self.destroyed = False
        self.launches = 0
        self.connected = False
        self._nodes = weakref.WeakSet()  # collectives that stand in graphs
        self.made.append(self)

    def check_async_error(self):
        if self.fails is not None:
            raise self.fails

    def abort(self):
        self.aborted = True

    def destroy(self):
        if self._nodes:
            raise StrictDeviceError(
                f"NCCL's communicator is destroyed while {len(self._nodes)} of its collectives "
                "stand in graphs, and would wait for them for ever; let go of the graphs first"
            )
        self.destroyed = True

    # -- collectives -------------------------------------------------------------------------------

    def allReduce(self, send, receive, count, datatype, op, stream):
        def work(source, target):
            result = source.copy()
            self._finish(self._comm.Iallreduce(MPI.IN_PLACE, result, _OPS[op]))
            target[...] = result

        self._launch("allReduce", send, count, receive, count, datatype, work, stream, op)

    def reduce(self, send, receive, count, datatype, op, root, stream):
        def work(source, target):
            result = np.empty_like(source)
            self._finish(self._comm.Ireduce(source.copy(), result, _OPS[op], root))
            if self._comm.Get_rank() == root:
                target[...] = result

        self._launch("reduce", send, count, receive, count, datatype, work, stream, op, root)

    def broadcast(self, send, receive, count, datatype, root, stream):
        def work(source, target):
            result = source.copy()
            self._finish(self._comm.Ibcast(result, root))
            target[...] = result

        self._launch("broadcast", send, count, receive, count, datatype, work, stream, root)

    def reduceScatter(self, send, receive, count, datatype, op, stream):
        def work(source, target):
            result = np.empty_like(target)
            self._finish(self._comm.Ireduce_scatter_block(source.copy(), result, _OPS[op]))
            target[...] = result

        whole = self._comm.Get_size() * count
        self._launch("reduceScatter", send, whole, receive, count, datatype, work, stream, op)

    def allGather(self, send, receive, count, datatype, stream):
        def work(source, target):
            result = np.empty_like(target)
            self._finish(self._comm.Iallgather(source.copy(), result))
            target[...] = result

        whole = self._comm.Get_size() * count
        self._launch("allGather", send, count, receive, whole, datatype, work, stream)

    # -- what they have in common ------------------------------------------------------------------

    def _launch(self, what, send, sent, receive, received, datatype, work, stream, *more):
        self._usable(what)
        dtype = np.dtype(_TYPES[datatype])
        signature = f"{what} of {sent} x {dtype} {more}"
        spans = (send, sent * dtype.itemsize), (receive, received * dtype.itemsize)

        def run():
            self._usable(what)
            self._compare(signature)
            source, target = (strict.host_view(*span).view(dtype) for span in spans)
            work(source, target)

        call = (self, what, spans, run, stream)
        if _group is None:
            give([call])
        else:
            _group.append(call)

    def _usable(self, what):
        if self.destroyed or self.aborted:
            how = "destroyed" if self.destroyed else "aborted"
            raise StrictDeviceError(f"{what} by an NCCL communicator that was {how}")

    def _compare(self, signature):
        """Ranks that launch different collectives are told so."""
        said = np.zeros((self._comm.Get_size(), 80), np.uint8)
        mine = np.zeros(80, np.uint8)
        text = signature.encode()[:80]
        mine[: len(text)] = np.frombuffer(text, np.uint8)
        self._finish(self._comm.Iallgather(mine, said))
        texts = [bytes(each).rstrip(b"\0").decode() for each in said]
        if len(set(texts)) > 1:
            raise StrictDeviceError(f"ranks give NCCL different collectives: {texts}")

    def _finish(self, request):
        """Wait for the other ranks; without the strict device's lock."""
        while not request.Test():
            if self.aborted:
                raise NcclError("the communicator was aborted")
            _others.wait(5e-5)


def give(calls):
    """Enqueue the collectives of a group as one piece of work."""
    (number,) = {call[4] for call in calls}
    stream, owners = stream_of(number), {call[0] for call in calls}
    what = " and ".join(call[1] for call in calls)
    capture = stream.capture
    if capture is None and strict.cuda.get_current_stream().capture is not None:
        raise StrictDeviceError(
            f"{what} on stream {number}, which has no part in the capture that is under way: it "
            "would run now, and in no launch; let it wait for an event of the capture first"
        )

    def run():
        for _, _, _, work, _ in calls:
            work()

    for owner in owners:
        owner.launches += 1
        if capture is not None:
            if owner.refuses_capture:
                raise strict.cuda.runtime.CUDARuntimeError(owner.refuses_capture)
            if not owner.connected:
                raise StrictDeviceError(
                    f"{what} is captured, and its communicator was never used: connections are "
                    "opened by the first collective, which no capture allows"
                )
            owner._nodes.add(run)
        owner.connected = True
    spans = [span for call in calls for span in call[2]]
    strict.enqueue(what, spans, spans, run, stream)


def groupStart():
    global _group
    assert _group is None
    _group = []


def groupEnd():
    global _group
    calls, _group = _group, None
    if calls:
        give(calls)


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
    get_version=lambda: 22809,
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


def install(patch):
    """Let the strict device have NCCL, and each rank a device of its own.

    Parameters
    ----------
    patch : callable
        ``patch(owner, name, value)``; pytest's ``monkeypatch.setattr``, or ``setattr``.
    """
    patch(strict.cuda, "nccl", nccl)
    patch(
        strict.cuda.runtime,
        "deviceGetPCIBusId",
        lambda device: f"strict:{MPI.COMM_WORLD.Get_rank()}",
    )
