"""Agreement of a rank that exchanges nothing with other nodes: it learns from those that do.

Nodes may have unequal numbers of ranks; there are as many slices as the smallest has. The ranks
beyond that send no messages between nodes, so they cannot ask there whether all mean the same call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcad.parallel.check import disagree
from hpcad.parallel.record import Record

if TYPE_CHECKING:
    from hpcad.parallel.node.node import NodeCommunicator


class ToldAgreement:
    """Waits for what the ranks of this node hear from other nodes; an ``Agreement``.

    Parameters
    ----------
    group : NodeCommunicator
    number : int
        Of the reduction.
    record : Record
    """

    def __init__(self, group: NodeCommunicator, number: int, record: Record) -> None:
        self._group, self._number, self._record = group, number, record

    def reached(self, wait: bool) -> bool:
        """Whether all ranks have stated the same; see :class:`~hpcad.parallel.check.Agreement`."""
        if wait:
            self._group.wait_until(self._heard)
        return self._heard()

    def _heard(self) -> bool:
        board = self._group.board
        if board.refused(self._number):
            disagree(self._group.comm, self._record)
        return board.agreed(self._number, self._group.slices)
