"""How threads are dealt to kernels with reductions.

A *team* of threads, part of a warp up to a whole block, computes a row: its elements are dealt to
the team in turns, reductions go through shuffles and shared memory. Without sums over other axes
there is a team per row. With them (column sums, sums of everything) a team walks along several
rows, keeps its part of each sum in registers, and leaves it in scratch memory for a second launch,
which adds the parts in a fixed order: no atomics, so equal addresses and numbers make equal bits.

None of the numbers below has been tuned on a GPU yet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hpcad.program.cuda.graph import Graph
from hpcad.program.cuda.normal import reduces
from hpcad.program.cuda.parts import ceil_div
from hpcad.program.cuda.passes import held_values
from hpcad.program.kernels.ir import Store
from hpcad.program.kernels.scalars import ITEMSIZE, computed_in, from_memory, to_memory

WARP = 32
SMALL_BLOCK = 128  # threads of a block that holds several teams
LARGEST_TEAM = 1024
TILE = 1024  # elements of a piece of a row along which nothing is reduced
ITEMS = 16  # elements of a row per thread
REGISTERS = 40  # 4-byte values that a thread may keep from one pass to the next
ROWS_PER_TEAM = 8  # at least, where rows are summed
MOST_THREADS = 1 << 17  # that are worth another part of a sum


@dataclass(frozen=True)
class Total:
    """A store that sums.

    Attributes
    ----------
    number : int
        Of the store.
    store : Store
    along_row : bool
        Whether the row is summed, too.
    kept : tuple of int
        Outer axes that the sum has.
    dtype : str
        That the sum is computed in.
    """

    number: int
    store: Store
    along_row: bool
    kept: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Deal:
    """Who computes what.

    Attributes
    ----------
    extents : tuple of int
    kept, summed : tuple of int
        Outer axes along which a team stays where it is, and along which it walks.
    tiles : int
        Pieces that a row is cut into; each is dealt like a row.
    tiles_summed : bool
        Whether teams walk along the pieces, too.
    width : int
        Elements that a thread takes at once.
    team : int
        Threads that compute a row together.
    items : int
        Elements of a row per thread.
    held : bool
        Whether values that several passes or rows share stay in registers.
    parts : int
        Teams that share the rows of one place.
    totals : tuple of Total
    """

    extents: tuple[int, ...]
    kept: tuple[int, ...]
    summed: tuple[int, ...]
    tiles: int
    tiles_summed: bool
    width: int
    team: int
    items: int
    held: bool
    parts: int
    totals: tuple[Total, ...]

    @property
    def length(self) -> int:
        """Elements of a row."""
        return self.extents[-1]

    @property
    def block(self) -> int:
        """Threads per block."""
        return max(self.team, SMALL_BLOCK) if self.team <= WARP else self.team

    @property
    def kept_tiles(self) -> int:
        """Pieces of a row that have teams of their own."""
        return 1 if self.tiles_summed else self.tiles

    @property
    def places(self) -> int:
        """Elements of the kept axes."""
        return math.prod(self.extents[axis] for axis in self.kept)

    @property
    def steps(self) -> int:
        """Rows, or pieces of rows, that the teams of one place share."""
        rows = math.prod(self.extents[axis] for axis in self.summed)
        return rows * (self.tiles if self.tiles_summed else 1)

    @property
    def teams(self) -> int:
        """All teams."""
        return self.places * self.kept_tiles * self.parts

    def direct(self, total: Total) -> bool:
        """Whether one team has all of an element of the sum, and writes it."""
        one_team = self.parts == 1 and total.kept == self.kept
        return one_team and (self.kept_tiles == 1 if total.along_row else self.held)

    def elements(self, total: Total) -> int:
        """Numbers that the teams leave in scratch memory."""
        if self.direct(total):
            return 0
        return self.places * self.parts * (self.kept_tiles if total.along_row else self.length)

    def beginning(self, total: Total) -> int:
        """Where they lie in scratch memory, in bytes."""
        return sum(self._bytes(other) for other in self.totals if other.number < total.number)

    @property
    def scratch(self) -> int:
        """Bytes of scratch memory."""
        return sum(self._bytes(total) for total in self.totals)

    def _bytes(self, total: Total) -> int:
        return ceil_div(self.elements(total) * ITEMSIZE[total.dtype], 256) * 256


def deal(graph: Graph, width: int, team: int | None = None) -> Deal:
    """Decide, for threads that take ``width`` elements at once.

    Parameters
    ----------
    team : int, optional
        That of another width: scratch memory must be the same.
    """
    extents, stores = graph.kernel.extents, graph.kernel.stores
    totals = tuple(_total(graph, i, s) for i, s in enumerate(stores) if s.reduce == "sum")
    outer = range(len(extents) - 1)
    kept = tuple(a for a in outer if not totals or any(a in total.kept for total in totals))
    cut = extents[-1] > TILE and not _needs_whole_rows(graph)
    tiles = ceil_div(extents[-1], TILE) if cut else 1
    piece = TILE if cut else extents[-1]
    weight = _registers(graph, totals)
    team = team or _team(piece, width, weight)
    items = max(ceil_div(piece, team * width), 1) * width
    plain = Deal(
        extents=extents,
        kept=kept,
        summed=tuple(axis for axis in outer if axis not in kept),
        tiles=tiles,
        tiles_summed=cut and bool(totals) and all(total.along_row for total in totals),
        width=width,
        team=team,
        items=items,
        held=0 < items * weight <= REGISTERS,
        parts=1,
        totals=totals,
    )
    return replace(plain, parts=_parts(plain.teams, plain.steps, team))


def _total(graph: Graph, number: int, store: Store) -> Total:
    operand = graph.kernel.operands[store.operand]
    kept = tuple(axis for axis, stride in enumerate(operand.strides[:-1]) if stride != 0)
    return Total(number, store, operand.strides[-1] == 0, kept, computed_in(operand.dtype))


def complete(total: Total, dtype: str, old: str, value: str) -> str:
    """A complete sum as what is written to its element ``old``, of type ``dtype`` in memory."""
    if total.store.accumulate:
        value = f"hp_add()({from_memory(old, dtype)}, {value})"
    return to_memory(value, total.dtype, dtype)


def _needs_whole_rows(graph: Graph) -> bool:
    """Rows with reductions; and those with a number per row that is both loaded and written."""
    numbers = {
        store.operand
        for store in graph.kernel.stores
        if store.reduce is None and graph.kernel.operands[store.operand].strides[-1] == 0
    }
    return reduces(graph.kernel) or bool(numbers & graph.loaded)


def _registers(graph: Graph, totals: tuple[Total, ...]) -> int:
    """4-byte registers per element that several passes or rows share."""
    sums = [ITEMSIZE[total.dtype] // 4 for total in totals if not total.along_row]
    return held_values(graph) + sum(sums)


def _team(piece: int, width: int, weight: int) -> int:
    """Threads per row: a warp if it suffices, more where rows are long."""
    groups, team = ceil_div(max(piece, 1), width), 1
    while team < min(groups, LARGEST_TEAM):
        items = ceil_div(groups, team) * width
        if team >= WARP and items <= ITEMS and items * weight <= REGISTERS:
            break
        team *= 2
    return team


def _parts(teams: int, steps: int, team: int) -> int:
    """Teams that share the rows of one place: the device is busy, but scratch memory small."""
    wanted = max(MOST_THREADS // max(teams * team, 1), 1)
    return min(ceil_div(steps, ROWS_PER_TEAM), wanted)
