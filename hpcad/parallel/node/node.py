"""The communicator for nodes with several ranks: they reduce in place, in shared memory."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import cast

import numpy as np
from mpi4py import MPI

from hpcad.parallel.buffer import reducible
from hpcad.parallel.check import Agreement, MessageAgreement, disagree
from hpcad.parallel.mpi import MpiCommunicator, MpiRequest
from hpcad.parallel.node.agreement import ToldAgreement
from hpcad.parallel.node.board import AHEAD, Board
from hpcad.parallel.node.quick import DONE, KNOWN, REFUSED, Plan, Quick
from hpcad.parallel.node.request import Between, NodeRequest, SmallRequest
from hpcad.parallel.node.window import SharedWindow, has_room
from hpcad.parallel.record import Call, Record

_SPIN_SECONDS = 2e-3

Start = Callable[[int, Record], NodeRequest]


class NodeCommunicator(MpiCommunicator):
    """Reductions in two levels: shared memory within nodes, MPI between them.

    Arrays from :meth:`allocate` lie in an MPI shared-memory window. To reduce one of them, rank l
    of each node combines the l-th slice of all arrays of the node, in rank order, where they are;
    nothing is copied. With several nodes the slices are then exchanged, each by an MPI allreduce
    of its own among the ranks of equal number, and written into all arrays of the node. Other
    arrays and other collectives go as in :class:`MpiCommunicator`.

    Parameters
    ----------
    comm : MPI.Intracomm
        A communicator nobody else sends on (a duplicate).
    label : str
        Names it in the door's records.
    local : MPI.Intracomm, optional
        The ranks of this one's node. Those that share memory, when left out.

    Notes
    -----
    On one node of P ranks, an array of n bytes moves 2 n bytes through the memory of each rank's
    share, at the speed of an addition in NumPy; a message passed through shared memory is copied
    at least twice more. The order of the sum is that of the ranks, so all have equal bits, and
    two runs have.

    Without MPI progress in the background nothing happens between two calls of
    :meth:`Request.test <hpcad.parallel.communicator.Request.test>`; a reduction needs at least
    one on every rank after the last rank has started it.
    """

    kind = "node"

    def __init__(
        self, comm: MPI.Intracomm, label: str = "node", local: MPI.Intracomm | None = None
    ) -> None:
        self.local = local or cast(MPI.Intracomm, comm.Split_type(MPI.COMM_TYPE_SHARED))
        self.local_rank, self.local_size = self.local.Get_rank(), self.local.Get_size()
        least = np.array([self.local_size], np.int64)
        comm.Allreduce(MPI.IN_PLACE, least, MPI.MIN)
        self.slices = int(least[0])  # as many as the smallest node has ranks
        self.across = self._between_nodes(comm)
        self.board = Board(self.local)
        self._windows: list[SharedWindow] = []
        self._active: deque[NodeRequest] = deque()
        self._quick = Quick(self.local, self.board)
        self._plans: dict[tuple[np.dtype, tuple[int, ...], str, str], Plan] = {}
        super().__init__(comm, label)

    def _between_nodes(self, comm: MPI.Intracomm) -> MPI.Intracomm | None:
        """The ranks that exchange one slice; None where there is a single node."""
        color = self.local_rank if self.local_rank < self.slices else MPI.UNDEFINED
        across = cast(MPI.Intracomm, comm.Split(color, comm.Get_rank()))
        return None if self.local_size == comm.Get_size() else across

    # -- what it does differently ----------------------------------------------------------------

    def allocate(self, nbytes: int) -> np.ndarray:
        """Return ``nbytes`` zeroed bytes of shared memory, of one's own if a node has too little.

        Collective; the same ``nbytes`` on every rank.
        """
        if not nbytes or not has_room(self.local, self.comm, nbytes):
            return super().allocate(nbytes)
        window = SharedWindow(self.local, nbytes)
        self._windows.append(window)
        return window.blocks[self.local_rank]

    def release(self) -> None:
        """Give back all memory that was allocated. Collective; nobody may look at it any more."""
        while self._windows:
            self._windows.pop().free()

    def allreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> None:
        """Overwrite ``array`` with its reduction; see :class:`Communicator`."""
        if type(array) is np.ndarray and not self._active:
            plan = self._plans.get((array.dtype, array.shape, op, name))
            if plan is not None:
                started = perf_counter()
                how = plan.run(array)
                if how == DONE:
                    self._door.note(plan.call, sys._getframe(1), started)
                    return
                if how != REFUSED:
                    record = self._door.record(plan.call, sys._getframe(1), started)
                    self._begin(self._small(array.reshape(-1), op), record).wait()
                    return
        flat = reducible(array, op, "allreduce")
        way = self._way(flat, op)
        if way is None:
            super().allreduce(array, op, name)
            return
        start, detail = way
        record = self._door.enter("allreduce", flat.dtype.str, flat.size, name, detail, False)
        self._begin(start, record).wait()
        self._plan(array, op, name, record.what)

    def iallreduce(  # type: ignore[override]  # both requests do what the protocol asks
        self, array: np.ndarray, op: str = "sum", name: str = ""
    ) -> NodeRequest | MpiRequest:
        """Start :meth:`allreduce`; see :class:`Communicator`."""
        flat = reducible(array, op, "iallreduce")
        way = self._way(flat, op)
        if way is None:
            return super().iallreduce(array, op, name)
        start, detail = way
        record = self._door.enter("iallreduce", flat.dtype.str, flat.size, name, detail, False)
        return self._begin(start, record)

    # -- inside ------------------------------------------------------------------------------------

    def _way(
        self, flat: np.ndarray, op: str, between: Between | None = None
    ) -> tuple[Start, str] | None:
        """How to reduce an array here, and what to call that; None where messages do it.

        The place in shared memory is part of the name: on ranks that pass another place, or an
        array from elsewhere, it is another call.
        """
        if flat.dtype == np.float16:  # that is summed in single precision
            return None
        if flat.nbytes <= self._quick.slot and self.across is None:
            return self._small(flat, op), op
        for i, window in enumerate(self._windows):
            offset = window.find(flat)
            if offset is not None:
                arrays = window.views(offset, flat.dtype, flat.size)
                detail = f"{op} in shared memory (block {i}, byte {offset})"
                return self._in_place(arrays, op, between), detail
        return None

    def _in_place(self, arrays: list[np.ndarray], op: str, between: Between | None) -> Start:
        return lambda number, record: NodeRequest(self, number, arrays, op, record, between)

    def _small(self, flat: np.ndarray, op: str) -> Start:
        return lambda number, record: SmallRequest(
            self, number, self._quick.views(number, flat), op, record, flat
        )

    def _begin(self, start: Start, record: Record) -> NodeRequest:
        number = self._quick.take_number()
        if number >= AHEAD:  # the board has no place for more
            self.wait_until(lambda: self.board.finished(number - AHEAD))
        request = start(number, record)
        self._active.append(request)
        self.advance()
        return request

    def _plan(self, array: np.ndarray, op: str, name: str, call: Call) -> None:
        """Let the next reduction of an array like this one go the quick way."""
        plan = None
        if type(array) is np.ndarray and self.across is None and len(self._plans) < KNOWN:
            plan = self._quick.plan(call, op, array)
        if plan is not None:
            self._plans[array.dtype, array.shape, op, name] = plan

    def _place_of_statements(self) -> MPI.Intracomm | None:
        owner = self.across is not None and self.across != MPI.COMM_NULL
        return self.across.Dup() if owner and self._checks else None  # type: ignore[union-attr]

    def _agreement(self, record: Record) -> NodeRequest:
        return self._begin(lambda number, _: NodeRequest(self, number, [], "", record), record)

    def _agree(self, record: Record) -> None:
        """Send what was started before, then return when all ranks are about to do the same."""
        if self._checks and self.across is None and not self._active:
            self._started.advance(wait=True)
            if self._quick.agree(record.what):
                return
        super()._agree(record)

    def compare(self, number: int, record: Record) -> Agreement | None:
        """Compare a call with the others of this node, and with other nodes, if any.

        Raises
        ------
        CollectiveError
            On every rank, when two of them mean different calls.
        """
        if not self._checks:
            return None
        alike = len(set(self.board.fingerprints(number))) == 1
        if self.across is None:
            if not alike:
                disagree(self.local, record)
            return None
        if self._statements is None:
            return ToldAgreement(self, number, record)
        tell = functools.partial(self.board.refuse, number)
        return MessageAgreement(self._statements, self.comm, record, alike, tell)

    def advance(self) -> None:
        """Bring every reduction under way as far as it can go, in the order of their numbers."""
        limit = None
        for request in self._active:
            limit = request.advance(limit)
            if not limit:
                break
        while self._active and self._active[0].done:
            self._active.popleft()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Advance until something holds. Gives the core away: ranks may be more than cores."""
        started = perf_counter()
        while True:
            self.advance()
            if condition():
                return
            if perf_counter() - started > _SPIN_SECONDS:
                time.sleep(2e-5)
            else:
                os.sched_yield()
