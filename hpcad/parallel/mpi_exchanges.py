"""How the MPI library moves blocks and messages, in pieces that its counts can express."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
from mpi4py import MPI

from hpcad.errors import CollectiveError
from hpcad.parallel.exchanges import Exchanges
from hpcad.parallel.operations import mpi_op
from hpcad.parallel.uneven import blocks

# Of messages between two ranks; below are those of the naive communicator.
FIRST_TAG = 16
_UNEVEN_TAG = 8


class MpiExchanges(Exchanges):
    """The hooks of :class:`~hpcad.parallel.exchanges.Exchanges`, by MPI."""

    comm: MPI.Intracomm
    chunk: int
    _backwards: MPI.Intracomm | None = None

    if TYPE_CHECKING:

        def parts(self, flat: np.ndarray) -> Iterator[np.ndarray]: ...

    def _reduce(self, work: np.ndarray, op: str, root: int) -> None:
        for part in self.parts(work):
            sent = MPI.IN_PLACE if self.rank == root else part
            self.comm.Reduce(sent, part, mpi_op(op, work.dtype), root)

    def _reduce_scatter(self, work: np.ndarray, out: np.ndarray, op: str) -> None:
        how = mpi_op(op, work.dtype)
        for columns, piece in self._pieces(out):
            self.comm.Reduce_scatter_block(self._columns(work, columns), piece, how)

    def _scan(self, work: np.ndarray, op: str, reverse: bool) -> None:
        comm = self._reversed_ranks() if reverse else self.comm
        for part in self.parts(work):
            comm.Scan(MPI.IN_PLACE, part, mpi_op(op, work.dtype))

    def _reversed_ranks(self) -> MPI.Intracomm:
        """The same ranks, numbered from the end. Made by the first reversed scan."""
        if self._backwards is None:
            self._backwards = cast(MPI.Intracomm, self.comm.Split(0, -self.rank))
        return self._backwards

    def _gather(self, block: np.ndarray, whole: np.ndarray | None, root: int) -> None:
        for columns, piece in self._pieces(block):
            into = None if whole is None else self._columns(whole, columns)
            self.comm.Gather(piece, into, root)
            if whole is not None and into is not None:
                self._put(whole, columns, into)

    def _scatter(self, whole: np.ndarray | None, block: np.ndarray, root: int) -> None:
        for columns, piece in self._pieces(block):
            sent = None if whole is None else self._columns(whole, columns)
            self.comm.Scatter(sent, piece, root)

    def _allgather(self, block: np.ndarray, whole: np.ndarray) -> None:
        for columns, piece in self._pieces(block):
            into = self._columns(whole, columns)
            self.comm.Allgather(piece, into)
            self._put(whole, columns, into)

    def _alltoall(self, sent: np.ndarray, received: np.ndarray) -> None:
        for columns, _ in self._pieces(received[: received.size // self.size]):
            into = self._columns(received, columns)
            self.comm.Alltoall(self._columns(sent, columns), into)
            self._put(received, columns, into)

    def _alltoallv(
        self,
        sent: np.ndarray,
        counts: np.ndarray,
        received: np.ndarray,
        out_counts: np.ndarray,
    ) -> None:
        # Every rank begins with its neighbour, so that not all send to rank 0 first.
        behind = [(self.rank + step) % self.size for step in range(1, self.size)]
        places, pieces = list(blocks(received, out_counts)), list(blocks(sent, counts))
        requests = [
            self.comm.Irecv(part, source, _UNEVEN_TAG)
            for source in reversed(behind)
            for part in self.parts(places[source])
        ]
        requests += [
            self.comm.Isend(part, target, _UNEVEN_TAG)
            for target in behind
            for part in self.parts(pieces[target])
        ]
        places[self.rank][...] = pieces[self.rank]
        MPI.Request.Waitall(requests)

    # -- pieces of blocks ------------------------------------------------------------------------

    def _pieces(self, block: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Pieces of a block such that those of all ranks fit into one call."""
        step = max(1, self.chunk // self.size)
        for start in range(0, block.size, step):
            columns = slice(start, min(start + step, block.size))
            yield columns, block[columns]

    def _columns(self, whole: np.ndarray, columns: slice) -> np.ndarray:
        """The same piece of every block; a view where it is all there is."""
        table = whole.reshape(self.size, -1)
        return whole if _is_all(table, columns) else np.ascontiguousarray(table[:, columns])

    def _put(self, whole: np.ndarray, columns: slice, piece: np.ndarray) -> None:
        table = whole.reshape(self.size, -1)
        if not _is_all(table, columns):
            table[:, columns] = piece

    # -- messages --------------------------------------------------------------------------------

    def _send_message(self, data: np.ndarray, dest: int, tag: int) -> None:
        for part in self.parts(data):
            self.comm.Send(part, dest, FIRST_TAG + tag)

    def _receive_message(self, data: np.ndarray, source: int, tag: int) -> None:
        status = MPI.Status()
        for part in self.parts(data):
            try:
                self.comm.Recv(part, source, FIRST_TAG + tag, status)
                count = status.Get_count(MPI.BYTE)
            except MPI.Exception as error:
                if error.Get_error_class() != MPI.ERR_TRUNCATE:
                    raise
                count = None
            if count != part.size:
                came = "a longer one" if count is None else f"one of {count} bytes"
                raise CollectiveError(
                    f"rank {self.rank} expected a message of {part.size} bytes from rank {source} "
                    f"(tag {tag}), but {came} came; both ranks must give the same shape and dtype"
                )

    def _exchange(
        self,
        sent: np.ndarray,
        dest: int | None,
        received: np.ndarray,
        source: int | None,
        tag: int,
    ) -> None:
        requests = []
        if dest is not None:
            requests = [self.comm.Isend(p, dest, FIRST_TAG + tag) for p in self.parts(sent)]
        if source is not None:
            self._receive_message(received, source, tag)
        MPI.Request.Waitall(requests)


def _is_all(table: np.ndarray, columns: slice) -> bool:
    return columns.start == 0 and columns.stop == table.shape[1]
