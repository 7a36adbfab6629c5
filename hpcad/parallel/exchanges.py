"""Collectives that move blocks between ranks, and messages between two of them.

Here are the public methods: they check their arrays, pass the door, and leave the moving to hooks
that each communicator fills in (:mod:`~hpcad.parallel.mpi_exchanges`,
:mod:`~hpcad.parallel.naive`, :mod:`~hpcad.parallel.serial_exchanges`).

Blocks are equal: where a rank contributes ``n`` elements, the array with all of them has
``size * n``, in rank order. (Unequal ones are exchanged in :mod:`hpcad.parallel.uneven`.) Arrays
that are only read may be read-only.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from hpcad.errors import CollectiveError, ConfigError, ShapeError
from hpcad.parallel.buffer import flat_view, narrow, readable_view, reducible, widen
from hpcad.parallel.door import Door, Record
from hpcad.parallel.uneven import UnevenExchanges


class Exchanges(UnevenExchanges):
    """Public methods of every communicator; see :class:`~hpcad.parallel.communicator.Communicator`.

    Two-sided messages (:meth:`send`, :meth:`receive`, :meth:`sendrecv`) concern two ranks, so they
    have a door of their own, which asks nobody; a message of another length than expected is an
    error of the rank that receives it.
    """

    _messages: Door

    def __init__(self) -> None:
        self._to_itself: dict[int, deque[np.ndarray]] = {}

    # -- reductions ------------------------------------------------------------------------------

    def reduce(self, array: np.ndarray, op: str = "sum", root: int = 0, name: str = "") -> None:
        """Overwrite the root's ``array`` with the reduction; leave the others as they are."""
        flat = reducible(array, op, "reduce")
        self._check_rank(root, "reduce", "root")
        with self._door.enter("reduce", flat.dtype.str, flat.size, name, f"{op} to {root}"):
            work = widen(flat)
            self._reduce(work, op, root)
            if self.rank == root:
                narrow(work, flat)

    def reduce_scatter(
        self, array: np.ndarray, out: np.ndarray, op: str = "sum", name: str = ""
    ) -> None:
        """Reduce ``array`` over the ranks, and write block ``rank`` of the result to ``out``.

        ``array`` may be overwritten; one that is read-only is copied first.
        """
        whole = reducible(_writeable(array), op, "reduce_scatter")
        block = self._block_of(array, out, "reduce_scatter")
        with self._door.enter("reduce_scatter", block.dtype.str, block.size, name, op):
            work, found = widen(whole), widen(block)
            self._reduce_scatter(work, found, op)
            narrow(found, block)

    def scan(
        self, array: np.ndarray, op: str = "sum", reverse: bool = False, name: str = ""
    ) -> None:
        """Overwrite ``array`` with the reduction over ranks 0 to this one, which is included.

        With ``reverse``, over this rank and those behind it.
        """
        flat = reducible(array, op, "scan")
        way = f"{op} from the last rank" if reverse else op
        with self._door.enter("scan", flat.dtype.str, flat.size, name, way):
            work = widen(flat)
            self._scan(work, op, reverse)
            narrow(work, flat)

    # -- blocks ----------------------------------------------------------------------------------

    def gather(
        self, array: np.ndarray, out: np.ndarray | None, root: int = 0, name: str = ""
    ) -> None:
        """Write the arrays of all ranks, in rank order, to the root's ``out``.

        ``out`` is not looked at on other ranks.
        """
        block = readable_view(array, "gather")
        self._check_rank(root, "gather", "root")
        whole = self._whole_of(array, out, "gather") if self.rank == root else None
        with self._door.enter("gather", block.dtype.str, block.size, name, f"to {root}"):
            self._gather(block.view(np.uint8), whole, root)

    def scatter(
        self, array: np.ndarray | None, out: np.ndarray, root: int = 0, name: str = ""
    ) -> None:
        """Write block r of the root's ``array`` to ``out`` of rank r; the adjoint of gather."""
        block = flat_view(out, "scatter")
        self._check_rank(root, "scatter", "root")
        whole = None
        if self.rank == root:
            self._block_of(array, out, "scatter")
            whole = readable_view(array, "scatter").view(np.uint8)
        with self._door.enter("scatter", block.dtype.str, block.size, name, f"from {root}"):
            self._scatter(whole, block.view(np.uint8), root)

    def allgather(self, array: np.ndarray, out: np.ndarray, name: str = "") -> None:
        """Write the arrays of all ranks, in rank order, to ``out`` on every rank."""
        block = readable_view(array, "allgather")
        whole = self._whole_of(array, out, "allgather")
        with self._door.enter("allgather", block.dtype.str, block.size, name):
            self._allgather(block.view(np.uint8), whole)

    def alltoall(self, array: np.ndarray, out: np.ndarray, name: str = "") -> None:
        """Send block r of ``array`` to rank r; block r of ``out`` comes from there."""
        sent, received = readable_view(array, "alltoall"), flat_view(out, "alltoall")
        if sent.size != received.size or sent.dtype != received.dtype or sent.size % self.size:
            raise ShapeError(
                f"alltoall sends {sent.size} x {sent.dtype} to {self.size} ranks and receives "
                f"{received.size} x {received.dtype}; both arrays must have the same dtype and "
                "size, a multiple of the number of ranks"
            )
        with self._door.enter("alltoall", sent.dtype.str, sent.size, name):
            self._alltoall(sent.view(np.uint8), received.view(np.uint8))

    # -- messages --------------------------------------------------------------------------------

    def send(self, array: np.ndarray, dest: int, tag: int = 0, name: str = "") -> None:
        """Send ``array`` to rank ``dest``, which must call :meth:`receive`."""
        flat = readable_view(array, "send")
        with self._message("send", flat, name, dest, tag, "to"):
            self._give(flat.view(np.uint8), dest, tag)

    def receive(self, array: np.ndarray, source: int, tag: int = 0, name: str = "") -> None:
        """Overwrite ``array`` with what rank ``source`` sends."""
        flat = flat_view(array, "receive")
        with self._message("receive", flat, name, source, tag, "from"):
            self._take(flat.view(np.uint8), source, tag)

    def sendrecv(
        self,
        array: np.ndarray,
        dest: int | None,
        out: np.ndarray,
        source: int | None,
        tag: int = 0,
        name: str = "",
    ) -> None:
        """Send ``array`` to ``dest`` while receiving ``out`` from ``source``.

        None stands for nobody: nothing is sent, or ``out`` stays as it is. Ranks that exchange
        with one another in a ring or a grid do not wait for each other in a circle.
        """
        sent, received = readable_view(array, "sendrecv"), flat_view(out, "sendrecv")
        for peer in (dest, source):
            if peer is not None:
                self._check_rank(peer, "sendrecv", "rank")
        with self._message("sendrecv", sent, name, self.rank, tag, f"to {dest} from {source} at"):
            if dest == self.rank:
                self._give(sent.view(np.uint8), dest, tag)
                dest = None
            if source == self.rank:
                self._take(received.view(np.uint8), source, tag)
                source = None
            self._exchange(sent.view(np.uint8), dest, received.view(np.uint8), source, tag)

    # MPI's send to oneself would wait for the receive that stands behind it.

    def _give(self, data: np.ndarray, dest: int, tag: int) -> None:
        if dest == self.rank:
            self._to_itself.setdefault(tag, deque()).append(data.copy())
        else:
            self._send_message(data, dest, tag)

    def _take(self, data: np.ndarray, source: int, tag: int) -> None:
        if source != self.rank:
            self._receive_message(data, source, tag)
            return
        waiting = self._to_itself.get(tag)
        if not waiting or waiting[0].size != data.size:
            raise CollectiveError(
                f"rank {self.rank} receives {data.size} bytes from itself (tag {tag}), but has "
                f"sent {f'{waiting[0].size} bytes' if waiting else 'nothing'}; send first, and "
                "the same shape and dtype"
            )
        data[...] = waiting.popleft()

    # -- checks ----------------------------------------------------------------------------------

    def _message(
        self, operation: str, flat: np.ndarray, name: str, peer: int, tag: int, way: str
    ) -> Record:
        self._check_rank(peer, operation, "rank")
        if not 0 <= tag < 1 << 14:
            raise ConfigError(f"{operation} was given tag {tag}; use 0 to {(1 << 14) - 1}")
        detail = f"{way} {peer}, tag {tag}"
        record = self._messages.enter(operation, flat.dtype.str, flat.size, name, detail, False)
        record.wait()
        return record

    def _check_rank(self, rank: int, call: str, what: str) -> None:
        if not 0 <= rank < self.size:
            raise ConfigError(
                f"{call} was given {what} {rank}, but this communicator has ranks 0 to "
                f"{self.size - 1}"
            )

    def _whole_of(self, array: np.ndarray, out: Any, call: str) -> np.ndarray:
        """The bytes of ``out``, which holds a block of every rank."""
        whole = flat_view(out, call)
        self._compare(whole, array, call)
        return whole.view(np.uint8)

    def _block_of(self, array: Any, out: np.ndarray, call: str) -> np.ndarray:
        """The flat view of ``out``, which holds one block of ``array``."""
        block = flat_view(out, call)
        self._compare(readable_view(array, call), block, call)
        return block

    def _compare(self, whole: np.ndarray, block: np.ndarray, call: str) -> None:
        if whole.size != self.size * block.size or whole.dtype != block.dtype:
            raise ShapeError(
                f"{call} on {self.size} ranks moves equal blocks: an array of {block.size} x "
                f"{block.dtype} a rank makes {self.size * block.size} in all, but the array for "
                f"all ranks has {whole.size} x {whole.dtype}; pad the blocks to one length, and "
                "use one dtype"
            )


def _writeable(array: Any) -> Any:
    """The array, or a copy where it is read-only: reductions may use it as their workspace."""
    ours = isinstance(array, np.ndarray) and not array.flags.writeable
    return array.copy() if ours else array
