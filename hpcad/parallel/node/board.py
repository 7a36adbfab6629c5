"""What the ranks of a node tell each other through shared memory: who has come, who is done."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from hpcad.parallel.node.window import LINE, SharedWindow

AHEAD = 64  # reductions that a rank may have started and not finished
_WORDS = LINE // 8
_ARRIVED, _FINISHED, _PRINTS = 0, _WORDS, 2 * _WORDS
_AGREED, _REFUSED = _FINISHED + 1, _FINISHED + 2


class Board:
    """Counters of every rank, written by it alone, read by all.

    Reductions are numbered from 0, alike on all ranks, and pass every stage in that order. So one
    number says of all of them whether a rank has come to it (its own array is complete) and
    whether it has finished (it neither reads nor writes the arrays of others any more).

    Parameters
    ----------
    comm : MPI.Intracomm
        The ranks of a node.

    Attributes
    ----------
    table : list of ndarray of int64
        The words of every rank. ``quick.c`` knows their places, too.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._window = SharedWindow(comm, 8 * (_PRINTS + AHEAD))
        table = [block.view(np.int64) for block in self._window.blocks]
        self._mine = table[comm.Get_rank()]
        self.table = table

    def arrive(self, number: int, fingerprint: int) -> None:
        """Say that this rank's array of a reduction is complete, and what it wants done."""
        self._mine[_PRINTS + number % AHEAD] = fingerprint
        self._window.fence()  # the numbers before the word that they are there
        self._mine[_ARRIVED] = number + 1

    def finish(self, number: int) -> None:
        """Say that this rank has written all it had to of a reduction, and all before it."""
        self._window.fence()
        self._mine[_FINISHED] = number + 1

    def agree(self, number: int) -> None:
        """Say that the nodes mean the same by a reduction, to those who do not ask the others."""
        self._mine[_AGREED] = number + 1

    def agreed(self, number: int, ranks: int) -> bool:
        """Whether the first ``ranks`` of this node have heard that the nodes mean the same."""
        return self._all(_AGREED, number, ranks)

    def refuse(self, number: int) -> None:
        """Say that they do not."""
        self._mine[_REFUSED] = number + 1

    def refused(self, number: int) -> bool:
        """Whether a rank of this node has heard that the nodes disagree about a reduction."""
        return any(words[_REFUSED] > number for words in self.table)

    def arrived(self, number: int) -> bool:
        """Whether every rank has come to a reduction."""
        return self._all(_ARRIVED, number)

    def finished(self, number: int) -> bool:
        """Whether every rank has finished a reduction."""
        return self._all(_FINISHED, number)

    def missing(self, number: int) -> list[int]:
        """Local ranks that have not come to a reduction."""
        return [rank for rank, words in enumerate(self.table) if words[_ARRIVED] <= number]

    def fingerprints(self, number: int) -> list[int]:
        """What every rank that has come wants done."""
        return [int(words[_PRINTS + number % AHEAD]) for words in self.table]

    def _all(self, place: int, number: int, ranks: int | None = None) -> bool:
        for words in self.table[:ranks]:
            if words[place] <= number:
                return False
        self._window.fence()  # what they wrote before may be read now
        return True
