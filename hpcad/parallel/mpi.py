"""The communicator that calls the MPI library's own collectives.

Importing this module initialises MPI; :func:`hpcad.parallel.init` does so when it must, through
:mod:`hpcad.parallel.library`. Only buffer methods are used, nothing is pickled.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np
from mpi4py import MPI

from hpcad.backend import get_backend
from hpcad.errors import ShapeError
from hpcad.parallel.agreement import agree
from hpcad.parallel.buffer import flat_view, narrow, reducible, widen
from hpcad.parallel.check import Agreement, MessageAgreement, is_wanted
from hpcad.parallel.door import Door, Record
from hpcad.parallel.mpi_exchanges import MpiExchanges
from hpcad.parallel.mpi_request import MpiRequest, Started
from hpcad.parallel.operations import mpi_op
from hpcad.parallel.payload import encode

_ABORT_SECONDS = 5.0
# Hydra drops what it has not yet forwarded when a rank aborts: without a pause 2 % of the
# tracebacks were lost.
_FORWARD_SECONDS = 0.25


class MpiCommunicator(MpiExchanges):
    """Collectives over an MPI communicator, which this object owns.

    Parameters
    ----------
    comm : MPI.Intracomm
        A communicator nobody else sends on (a duplicate).
    label : str
        Names it in the door's records.

    Attributes
    ----------
    chunk : int
        Elements per MPI call; longer arrays go in pieces, because counts of 2**31 and more
        overflow in some libraries.
    """

    chunk = 1 << 30
    kind = "mpi"

    def __init__(self, comm: MPI.Intracomm, label: str = "mpi") -> None:
        super().__init__()
        self.comm = comm
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()
        self._checks = self.size > 1 and is_wanted()
        self._started = Started(self._agreement if self._checks else None)
        self.begin_to_count(label)
        self._statements = self._place_of_statements()

    def begin_to_count(self, label: str) -> None:
        """Give the communicator a name, and the number 0 to its next call."""
        self._door = Door(label, self._agree)
        self._messages = Door(f"messages of {label}")  # of two ranks: the others are not asked

    def barrier(self, name: str = "") -> None:
        """Return when every rank has come."""
        with self._door.enter("barrier", "", 0, name):
            self.comm.Barrier()

    def broadcast(self, array: np.ndarray, root: int = 0, name: str = "") -> None:
        """Overwrite ``array`` with the root's; see :class:`Communicator`."""
        flat = flat_view(array, "broadcast")
        with self._door.enter("broadcast", flat.dtype.str, flat.size, name, f"from {root}"):
            self._broadcast_bytes(flat.view(np.uint8), root)

    def allreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> None:
        """Overwrite ``array`` with its reduction; see :class:`Communicator`."""
        flat = reducible(array, op, "allreduce")
        with self._door.enter("allreduce", flat.dtype.str, flat.size, name, op):
            work = widen(flat)
            self._reduce_in_place(work, op)
            narrow(work, flat)

    def iallreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> MpiRequest:
        """Start :meth:`allreduce`; see :class:`Communicator`."""
        flat = reducible(array, op, "iallreduce")
        record = self._door.enter("iallreduce", flat.dtype.str, flat.size, name, op, False)
        work = widen(flat)

        def post() -> list[MPI.Request]:
            how = mpi_op(op, work.dtype)
            return [self.comm.Iallreduce(MPI.IN_PLACE, part, how) for part in self.parts(work)]

        return MpiRequest(self._started, post, record, work, flat)

    def broadcast_json(self, value: Any, root: int = 0, name: str = "") -> Any:
        """Return the root's ``value``; see :class:`Communicator`.

        Raises
        ------
        ShapeError
            On every rank, when the root's value is not JSON-able.
        """
        text, problem = _try_encode(value) if self.rank == root else (b"", None)
        with self._door.enter("broadcast_json", "json", len(text), name, f"from {root}"):
            length = np.array([-1 if problem else len(text)], np.int64)
            self._broadcast_bytes(length.view(np.uint8), root)
            if length[0] < 0:
                raise problem or ShapeError(f"rank {root} could not send its value as JSON")
            buffer = np.frombuffer(text, np.uint8).copy() if self.rank == root else None
            if buffer is None:
                buffer = np.empty(length[0], np.uint8)
            self._broadcast_bytes(buffer, root)
            return json.loads(buffer.tobytes())

    def gather_json(self, value: Any, name: str = "") -> list[Any]:
        """Return every rank's ``value``; see :class:`Communicator`.

        Raises
        ------
        ShapeError
            On every rank, when a value is not JSON-able or all of them exceed 2 GiB.
        """
        text, problem = _try_encode(value)
        with self._door.enter("gather_json", "json", len(text), name):
            lengths = self._gather_lengths(-1 if problem else len(text))
            if problem:
                raise problem
            if lengths.min() < 0:
                raise ShapeError(f"rank {int(lengths.argmin())} could not send its value as JSON")
            return [json.loads(part) for part in self._gather_bytes(text, lengths)]

    def allocate(self, nbytes: int) -> np.ndarray:
        """Return ``nbytes`` zeroed, 64-byte aligned bytes."""
        return get_backend("cpu").allocate(nbytes)

    def abort(self, code: int = 1) -> NoReturn:
        """End the whole job now with exit code ``code``; never returns.

        A library whose Abort itself gets stuck (a lock held by a thread inside MPI) is given five
        seconds; the launcher then ends the others because this process is gone.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        escape = threading.Timer(_ABORT_SECONDS, os._exit, (code,))
        escape.daemon = True
        escape.start()
        time.sleep(_FORWARD_SECONDS)
        if not MPI.Is_finalized():
            MPI.COMM_WORLD.Abort(code)
        os._exit(code)

    def agree(self, error: BaseException | None, name: str = "") -> None:
        """Raise on every rank when any rank passes an error; see :class:`Communicator`."""
        agree(self, error, name)

    def _place_of_statements(self) -> Any:
        return self.comm.Dup() if self._checks else None

    def _agreement(self, record: Record) -> Agreement:
        """State a call to the other ranks."""
        return MessageAgreement(self._statements, self.comm, record)

    def _agree(self, record: Record) -> None:
        """Send what was started before, then return when all ranks are about to do the same."""
        self._started.advance(wait=True)
        if self._checks:
            self._agreement(record).reached(wait=True)

    def parts(self, flat: np.ndarray) -> Iterator[np.ndarray]:
        """Pieces of an array that one MPI call can take."""
        for start in range(0, flat.size, self.chunk):
            yield flat[start : start + self.chunk]

    def _broadcast_bytes(self, data: np.ndarray, root: int) -> None:
        for part in self.parts(data):
            self.comm.Bcast(part, root)

    def _reduce_in_place(self, work: np.ndarray, op: str) -> None:
        for part in self.parts(work):
            self.comm.Allreduce(MPI.IN_PLACE, part, mpi_op(op, work.dtype))

    def _gather_lengths(self, length: int) -> np.ndarray:
        lengths = np.empty(self.size, np.int64)
        self.comm.Allgather(np.array([length], np.int64), lengths)
        return lengths

    def _gather_bytes(self, text: bytes, lengths: np.ndarray) -> list[bytes]:
        if lengths.sum() >= 1 << 31:
            raise ShapeError(
                f"gather_json was given {int(lengths.sum())} bytes of text in all, "
                "2 GiB at most; send arrays with broadcast or allreduce instead"
            )
        starts = np.concatenate(([0], np.cumsum(lengths)))
        received = np.empty(starts[-1], np.uint8)
        send = np.frombuffer(text, np.uint8)
        self.comm.Allgatherv(send, [received, (lengths, starts[:-1]), MPI.BYTE])
        return [received[a:b].tobytes() for a, b in pairwise(starts)]


def _try_encode(value: Any) -> tuple[bytes, ShapeError | None]:
    """Encode, keeping the error: the other ranks must hear of it before it is raised."""
    try:
        return encode(value), None
    except ShapeError as error:
        return b"", error
