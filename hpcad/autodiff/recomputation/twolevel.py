"""Schedules for two kinds of places: few in memory, more on disk that cost time to write and read.

The optimal schedule is found by dynamic programming over (steps left, free places in memory, free
places on disk), as in J. Herrmann and G. Pallez, "H-Revolve: a framework for adjoint computation on
synchronous hierarchical platforms", ACM TOMS 46, 2020, for two levels; G. Aupy, J. Herrmann,
P. Hovland and Y. Robert, "Optimal multistage algorithm for adjoint computation", SIAM J. Sci.
Comput. 38, 2016, treat unlimited disks. The initial state stays in memory: the caller holds it.

Time is measured in runs of a step. The tables take time and memory in proportion to
``steps^2 x slots x disk_slots`` and ``steps x slots x disk_slots``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from hpcad.autodiff.recomputation.revolve import (
    ADVANCE,
    DROP,
    RESTORE,
    REVERSE,
    SPILL,
    STORE,
    Action,
)

_IMPOSSIBLE = np.inf


class TwoLevels:
    """The optimal schedule for a chain.

    Parameters
    ----------
    steps : int
    slots : int
        Places in memory, that of the initial state included.
    disk_slots : int
        Places on disk.
    write, read : float
        Costs of a state, in runs of a step.
    """

    def __init__(
        self, steps: int, slots: int, disk_slots: int, write: float = 1.0, read: float = 1.0
    ) -> None:
        self.steps = steps
        self.free = min(slots, max(steps, 1)) - 1  # in memory, beside the initial state
        self.disk = min(disk_slots, steps)
        self.write, self.read = write, read
        # Cost of reversing a number of steps whose first state is current, and kept in memory
        # (or on disk), with some places free beside it: [steps, in memory, on disk]
        shape = (steps + 1, self.free + 1, self.disk + 1)
        self._in_memory = np.zeros(shape)
        self._on_disk = np.zeros(shape)
        for length in range(2, steps + 1):
            self._fill(length)

    @property
    def cost(self) -> float:
        """Runs, and time for the disk, of a whole gradient."""
        return float(self._in_memory[self.steps, self.free, self.disk]) + self.steps

    def _fill(self, length: int) -> None:
        at = np.arange(1, length)
        right = self._right(length - at)
        steps = at[:, None, None]
        memory = (steps + right + self._in_memory[at]).min(0)
        disk = (steps + right + self.read + self._on_disk[at]).min(0)
        # Having read a state, one can keep it in memory, and free its place on disk.
        disk[1:, :-1] = np.minimum(disk[1:, :-1], memory[:-1, 1:])
        self._in_memory[length], self._on_disk[length] = memory, disk

    def _right(self, lengths: np.ndarray) -> np.ndarray:
        """Cost of what lies behind a state that has just been reached, for each use of places."""
        stored = np.full((len(lengths), self.free + 1, self.disk + 1), _IMPOSSIBLE)
        stored[lengths == 1] = 0.0
        behind = self._in_memory[lengths]
        stored[:, 1:] = np.minimum(stored[:, 1:], behind[:, :-1])
        spilled = self.write + self._on_disk[lengths]
        stored[:, :, 1:] = np.minimum(stored[:, :, 1:], spilled[:, :, :-1])
        return stored

    def schedule(self) -> Iterator[Action]:
        """All actions, from the initial state to the reversal of step 0."""
        if self.steps:
            yield Action(STORE, 0)
            yield from self._piece(0, self.steps, self.free, self.disk, False)

    def reversal(self, kept: Mapping[int, bool], steps: int) -> Iterator[Action]:
        """Reverse the first ``steps`` steps; ``kept``: stored states, and whether on disk."""
        free, disk = self.free + 1, self.disk
        pieces = []
        for start, on_disk in kept.items():
            free, disk = free - (not on_disk), disk - on_disk
            pieces.append((start, free, disk, on_disk))
        end = steps
        for start, free, disk, on_disk in reversed(pieces):
            if start < end:
                yield Action(RESTORE, start)
                yield from self._piece(start, end, free, disk, on_disk)
            else:
                yield Action(DROP, start)
            end = min(start, end)

    def _piece(self, start: int, end: int, free: int, disk: int, on_disk: bool) -> Iterator[Action]:
        """Reverse steps ``start`` to ``end - 1``; state ``start`` is current, and kept."""
        while end - start > 1:
            if on_disk and self._better_in_memory(end - start, free, disk):
                yield Action(DROP, start)
                yield Action(STORE, start)
                free, disk, on_disk = free - 1, disk + 1, False
            middle = start + self._split(end - start, free, disk, on_disk)
            yield Action(ADVANCE, start, middle)
            if end - middle == 1:
                yield Action(REVERSE, middle)
            elif self._spills(end - middle, free, disk):
                yield Action(SPILL, middle)
                yield from self._piece(middle, end, free, disk - 1, True)
            else:
                yield Action(STORE, middle)
                yield from self._piece(middle, end, free - 1, disk, False)
            yield Action(RESTORE, start)
            end = middle
        yield Action(DROP, start)
        yield Action(REVERSE, start)

    def _split(self, length: int, free: int, disk: int, on_disk: bool) -> int:
        at = np.arange(1, length)
        left = (self._on_disk if on_disk else self._in_memory)[at, free, disk]
        return 1 + int(np.argmin(at + self._behind(length - at, free, disk) + left))

    def _behind(self, lengths: np.ndarray, free: int, disk: int) -> np.ndarray:
        cost = np.where(lengths == 1, 0.0, _IMPOSSIBLE)
        if free:
            cost = np.minimum(cost, self._in_memory[lengths, free - 1, disk])
        if disk:
            cost = np.minimum(cost, self.write + self._on_disk[lengths, free, disk - 1])
        return cost

    def _spills(self, length: int, free: int, disk: int) -> bool:
        if not (free and disk):
            return disk > 0
        spilled = self.write + self._on_disk[length, free, disk - 1]
        return bool(spilled < self._in_memory[length, free - 1, disk])

    def _better_in_memory(self, length: int, free: int, disk: int) -> bool:
        # The table of states on disk has the choice between both; it was made when they are equal.
        return bool(
            free
            and disk + 1 <= self.disk
            and self._in_memory[length, free - 1, disk + 1] <= self._on_disk[length, free, disk]
        )
