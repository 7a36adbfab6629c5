"""``table[index[i]] += g[i]``: sums of rows by index, the gradient of an embedding.

Deterministic: each row is summed in the order of the batch, in pieces of 32 that are added in
order; no real numbers are added atomically. In a table of short types, sums are float32.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.take_rows import INDICES, report
from hpcad.program.cuda.routines.writing import (
    COMPUTED,
    STORED,
    blocks_for,
    bodies,
    function,
    identifier,
    itemsize,
    once,
    require,
    rounded,
    truth,
    width_of,
)

BLOCK = 256
TILE = 2048  # as in add_rows.cu
PIECE = 32


@functools.cache
def add_rows(
    dtype: str,
    index_dtype: str,
    rows: int,
    count: int,
    width: int,
    *,
    accumulate: bool = False,
    faults: bool = False,
) -> DeviceRoutine:
    """The routine that adds rows.

    Operands: g (count, width), index (count,), table (rows, width) and, with ``faults``, one int64
    as in :func:`hpcad.program.cuda.routines.take_rows.take_rows`.

    Parameters
    ----------
    dtype : str
        A floating type.
    index_dtype : str
        ``"int32"`` or ``"int64"``; negative indices count from the end. Those that mean no row are
        left out.
    rows, count, width : int
    accumulate : bool
        Add to what the table holds; otherwise it is as if it held zeros.
    faults : bool

    Raises
    ------
    DeviceError
        There is no routine for these types or sizes.
    """
    require(index_dtype in INDICES, f"add_rows: indices must be int32 or int64, not {index_dtype}")
    require(dtype in COMPUTED, f"add_rows: sums of {dtype} have no routine")
    require(max(rows, count) < 2**31, f"add_rows: {count} indices of {rows} rows are too many")
    name = identifier("add_rows", dtype, index_dtype, rows, count, width, accumulate, faults)
    operands = [
        Flat(dtype, count * width, "read"),
        Flat(index_dtype, count, "read"),
        Flat(dtype, rows * width, "update" if accumulate else "write"),
    ] + [Flat("int64", 1, "update")] * faults
    write = _Writer(name, operands, rows, count, width, accumulate)
    widths = dict.fromkeys((width_of(dtype, width), 1))
    variants = tuple(write.variant(lanes) for lanes in widths)

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        g, index, table = arrays[0], arrays[1], arrays[2].reshape(rows, width)
        place = np.where(index < 0, index + rows, index)
        wrong = (place < 0) | (place >= rows)
        sums = (
            table.astype(COMPUTED[dtype]) if accumulate else np.zeros(table.shape, COMPUTED[dtype])
        )
        np.add.at(sums, place[~wrong], g.reshape(count, width)[~wrong].astype(sums.dtype))
        table[...] = sums.astype(table.dtype)
        report(arrays[3:], wrong)

    return DeviceRoutine(
        name, variants, write.scratch, (), tuple(operands), reference, flops=count * width
    )


class _Writer:
    def __init__(
        self, name: str, operands: list[Flat], rows: int, count: int, width: int, accumulate: bool
    ) -> None:
        self.name, self.operands, self.accumulate = name, operands, accumulate
        self.rows, self.count, self.width = rows, count, width
        self.passes = max(1, -(-rows.bit_length() // 8))
        self.tiles = max(-(-count // TILE), 1)

    @property
    def scratch(self) -> int:
        """Bytes: what is sorted, and the partial sums of long rows."""
        sorting = rounded(4 * (4 * self.count + 256 * self.tiles + 2 * self.rows))
        size = itemsize(COMPUTED[self.operands[0].dtype])
        return sorting + rounded(2 * -(-self.count // PIECE) * self.width * size)

    def variant(self, lanes: int) -> Variant:
        """With ``lanes`` neighbouring elements per access."""
        if not self.rows * self.width:
            return Variant(self._alignment(lanes), (), "")
        sorting, summing = [*self._sort(), self._find()], [self._sum(lanes), self._finish()]
        launches, sources = [], [bodies("add_rows.cu")]
        for stem, steps in ((self.name, sorting), (f"{self.name}_v{lanes}", summing)):
            for number, (grid, call) in enumerate(steps):
                launch = Launch(f"{stem}_{number}", grid, BLOCK)
                launches.append(launch)
                text = function(launch, self.operands, (), True, call)
                sources.append(once(launch.entry, text))
        return Variant(self._alignment(lanes), tuple(launches), "".join(sources))

    def _alignment(self, lanes: int) -> tuple[int, ...]:
        return tuple(
            itemsize(operand.dtype) * (lanes if number in (0, 2) else 1)
            for number, operand in enumerate(self.operands)
        )

    def _sort(self) -> list[tuple[tuple[int, int], str]]:
        fault = "(uint64_t *)p3" if len(self.operands) > 3 else "(uint64_t *)0"
        tiles, sizes = self.tiles, f"{self.count}, {self.rows}"
        steps = []
        for number in range(self.passes):
            counting = f"hp_count_digits(p1, {fault}, scratch, {sizes}, {number});"
            steps.append(((tiles, 1), counting))
            steps.append(((1, 1), f"hp_sum_digits(scratch, {sizes});"))
            steps.append(((tiles, 1), f"hp_move_places(scratch, {sizes}, {number});"))
        return steps

    def _find(self) -> tuple[tuple[int, int], str]:
        call = f"hp_find_rows(scratch, {self.count}, {self.rows}, {self.passes});"
        return (blocks_for(self.count, BLOCK), 1), call

    def _sum(self, lanes: int) -> tuple[tuple[int, int], str]:
        stored = STORED[self.operands[0].dtype]
        call = (
            f"hp_sum_pieces<{lanes}, {stored}>(p0, p2, scratch, {self.count}, {self.rows}, "
            f"{self.width}, {self.passes}, {truth(self.accumulate)});"
        )
        return (max(-(-self.count // (BLOCK // 32)), 1), -(-self.width // (32 * lanes))), call

    def _finish(self) -> tuple[tuple[int, int], str]:
        call = (
            f"hp_finish_rows(p2, scratch, {self.count}, {self.rows}, {self.width}, "
            f"{truth(self.accumulate)});"
        )
        return (min(self.rows, 4096), -(-self.width // BLOCK)), call
