"""One reduction of a node communicator, from its start to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from hpcad.backend.native.combine import combine
from hpcad.errors import CollectiveError
from hpcad.parallel.check import Agreement
from hpcad.parallel.door import Record
from hpcad.parallel.operations import mpi_op

if TYPE_CHECKING:
    from hpcad.parallel.node.node import NodeCommunicator

_ALIGN = 64  # elements: slices of different ranks share no cache line, nor a vector

WAITING, AGREEING, EXCHANGING, SPREAD, DONE = range(5)
"""Stages: until the ranks of this node have come; until the other nodes have and mean the same;
until their parts are here; until this node has finished."""


Between = Callable[[np.ndarray], Callable[[], bool]]
"""Starts the sum of a slice over the nodes, in place; returns what tells whether it is there."""


class NodeRequest:
    """A reduction under way, of arrays that lie in shared memory.

    Parameters
    ----------
    group : NodeCommunicator
    number : int
        Counts the reductions of the communicator.
    arrays : list of ndarray, shape (n,)
        The same slice of every local rank's block; empty to agree only, about a call that goes
        another way.
    op : str
    record : Record
        Of the door.
    between : Between, optional
        How slices are reduced over the nodes: by MPI when left out.
    """

    def __init__(
        self,
        group: NodeCommunicator,
        number: int,
        arrays: list[np.ndarray],
        op: str,
        record: Record,
        between: Between | None = None,
    ) -> None:
        self._group, self._number, self._arrays, self._op = group, number, arrays, op
        self._record = record
        self._between = between or self._by_mpi
        self._arrived: Callable[[], bool] | None = None
        size = arrays[0].size if arrays else 0
        self._span = slice_of(size, group.local_rank, group.slices)
        self._agreement: Agreement | None = None
        self.stage = WAITING
        group.board.arrive(number, record.what.code)

    def reached(self, wait: bool) -> bool:
        """Whether all ranks have stated the same; see :class:`Agreement`."""
        if wait:
            self._group.wait_until(lambda: self.stage > AGREEING)
        elif self.stage <= AGREEING:
            self._group.advance()
        return self.stage > AGREEING

    @property
    def done(self) -> bool:
        """Whether the reduction has ended."""
        return self.stage == DONE

    def test(self) -> bool:
        """Go on with whatever is under way; return whether this reduction has ended."""
        if self.stage != DONE:
            self._group.advance()
        return self.stage == DONE

    def wait(self) -> None:
        """Return when the reduction has ended."""
        if self.stage != DONE:
            self._record.wait()
            self._group.wait_until(lambda: self.stage == DONE)

    def advance(self, limit: int | None) -> int:
        """Go on as far as possible, no further than the reduction before; return the stage."""
        last = DONE if limit is None else limit
        board = self._group.board
        if self.stage == WAITING and last > WAITING and board.arrived(self._number):
            self._compare()
        if self.stage == AGREEING and last > AGREEING and self._agreed():
            self._combine()
            self.stage = EXCHANGING
        if self.stage == EXCHANGING and last > EXCHANGING and self._exchanged():
            board.finish(self._number)
            self.stage = SPREAD
        if self.stage == SPREAD and last > SPREAD and board.finished(self._number):
            if self._arrays:
                self._record.finish()
            self.stage = DONE
        return self.stage

    def _compare(self) -> None:
        self.stage = DONE  # in case of an error: the ranks stay in step, and do not ask again
        try:
            self._agreement = self._group.compare(self._number, self._record)
        except CollectiveError:
            self._group.board.finish(self._number)
            raise
        self.stage = AGREEING

    def _agreed(self) -> bool:
        if self._agreement is None:
            return True
        try:
            if not self._agreement.reached(wait=False):
                return False
            self._group.board.agree(self._number)
            return True
        except CollectiveError:
            self.stage = DONE  # as above
            self._group.board.finish(self._number)
            raise

    def _combine(self) -> None:
        """Reduce this rank's slice, into all arrays where nothing comes from other nodes."""
        group, arrays, (start, stop) = self._group, self._arrays, self._span
        if start == stop:
            return
        if group.across is None:
            combine(arrays, arrays, self._op, start, stop)
            return
        own = arrays[group.local_rank]
        combine(arrays, [own], self._op, start, stop)
        self._arrived = self._between(own[start:stop])

    def _by_mpi(self, part: np.ndarray) -> Callable[[], bool]:
        across, how = self._group.across, mpi_op(self._op, part.dtype)
        pieces = self._group.parts(part)
        sent = [across.Iallreduce(MPI.IN_PLACE, p, how) for p in pieces]  # type: ignore[union-attr]
        return lambda: MPI.Request.Testall(sent)

    def _exchanged(self) -> bool:
        """Whether the other nodes' parts have come; if so, give them to the ranks of this node."""
        if self._arrived is None:
            return True
        if not self._arrived():
            return False
        start, stop = self._span
        own = self._group.local_rank
        for rank, array in enumerate(self._arrays):
            if rank != own:
                array[start:stop] = self._arrays[own][start:stop]
        self._arrived = None
        return True


class SmallRequest(NodeRequest):
    """A reduction of a few numbers: every rank reads those of all, and computes the whole result.

    Parameters
    ----------
    target : ndarray, shape (n,)
        Receives the result.
    """

    def __init__(
        self,
        group: NodeCommunicator,
        number: int,
        arrays: list[np.ndarray],
        op: str,
        record: Record,
        target: np.ndarray,
    ) -> None:
        self._target = target
        arrays[group.local_rank][...] = target
        super().__init__(group, number, arrays, op, record)

    def _combine(self) -> None:
        combine(self._arrays, [self._target], self._op, 0, self._target.size)


def slice_of(size: int, rank: int, slices: int) -> tuple[int, int]:
    """First and last element (exclusive) that a rank combines."""
    if rank >= slices:
        return 0, 0
    per = -(-size // slices)
    per += -per % _ALIGN
    return min(size, rank * per), min(size, (rank + 1) * per)
