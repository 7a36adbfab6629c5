"""A Cartesian grid of ranks, for domains that are cut into blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hpcad.errors import ConfigError
from hpcad.parallel.collectives.collective import group
from hpcad.parallel.communicator import Communicator


class Grid:
    """Ranks at the points of a grid, in row-major order.

    Parameters
    ----------
    shape : sequence of int
        Ranks along each axis; their product is the size of the communicator. At most one may be
        -1, and is then found.
    periodic : bool or sequence of bool
        Whether the last rank of an axis is followed by the first.
    communicator : Communicator, optional
        That of the world when left out.

    Attributes
    ----------
    place : tuple of int
        This rank's coordinates.

    Raises
    ------
    ConfigError
        The grid does not have as many points as there are ranks.
    """

    def __init__(
        self,
        shape: Sequence[int],
        periodic: bool | Sequence[bool] = False,
        communicator: Communicator | None = None,
    ) -> None:
        self.communicator = group(communicator)
        size = self.communicator.size
        given = tuple(shape)
        rest = math.prod(n for n in given if n != -1)
        self.shape = tuple(size // rest if n == -1 and rest > 0 else n for n in given)
        if min(given, default=1) < -1 or math.prod(self.shape) != size or given.count(-1) > 1:
            raise ConfigError(
                f"a grid of {given} has not as many points as the communicator has ranks, {size}; "
                "give one axis as -1, and the others as divisors of that number"
            )
        axes = len(self.shape)
        self.periodic = (
            (periodic,) * axes if isinstance(periodic, bool) else tuple(map(bool, periodic))
        )
        if len(self.periodic) != axes:
            raise ConfigError(
                f"periodic={periodic} has {len(self.periodic)} entries for {axes} axes; give one "
                "for each axis, or one for all"
            )
        self.place = tuple(map(int, np.unravel_index(self.communicator.rank, self.shape)))

    def neighbours(self, axis: int) -> tuple[int | None, int | None]:
        """Ranks before and behind this one along an axis; None where the grid ends."""
        return self._at(axis, -1), self._at(axis, 1)

    def _at(self, axis: int, step: int) -> int | None:
        there = self.place[axis] + step
        if self.periodic[axis]:
            there %= self.shape[axis]
        if not 0 <= there < self.shape[axis]:
            return None
        place = (*self.place[:axis], there, *self.place[axis + 1 :])
        return int(np.ravel_multi_index(place, self.shape))

    def block(self, shape: Sequence[int]) -> tuple[slice, ...]:
        """The part of a global array of ``shape`` that lies on this rank.

        Where an axis cannot be divided evenly, the first ranks have one more.
        """
        cuts = []
        for n, ranks, i in zip(shape, self.shape, self.place, strict=False):
            few, more = divmod(n, ranks)
            start = i * few + min(i, more)
            cuts.append(slice(start, start + few + (i < more)))
        return tuple(cuts)
