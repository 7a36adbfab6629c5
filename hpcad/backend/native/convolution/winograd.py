"""Plans of Winograd's F(2 x 2, 3 x 3), for kernels of 3 x 3 at stride 1."""

from __future__ import annotations

import numpy as np

from hpcad.backend.native.convolution import plan, structs
from hpcad.backend.native.convolution.direct import weight_plan
from hpcad.backend.native.convolution.geometry import Pair, Units, Window, cut
from hpcad.backend.native.convolution.plan import Layout, Plan, Problem

PRODUCTS = 16  # per tile of 2 x 2 outputs, instead of 36
# Bytes of transformed tiles per unit, and the least number of tiles: few of them would meet a
# large weight (or large sums of its gradient) that comes from beyond the second-level cache.
UNIT, TILES = 512 << 10, 48
WEIGHT_UNIT, WEIGHT_TILES = 1 << 20, 128


def pays(kernel: Pair, stride: Pair, rows: int, columns: int, c: int, k: int) -> bool:
    """Whether it is faster than the direct scheme.

    Its share of the products is 16 per tile of 36 per four outputs; the transforms cost as
    ``1 / c + 1 / k`` does beside them. The constant was measured with AVX-512 in float32, on
    images of 2 x 2 to 28 x 28 and 1 to 64 channels, where the formula is within 0.15 of the
    measured ratio of times.
    """
    if kernel != (3, 3) or stride != (1, 1) or rows < 1 or columns < 1:
        return False
    tiles = -(-rows // 2) * -(-columns // 2)
    return tiles * PRODUCTS / (rows * columns * 9) + 2.5 * (1 / c + 1 / k) < 0.95


def images(problem: Problem, padding: Pair, steps: tuple[int, int, int, int]) -> Plan:
    """A convolution, or with the kernel turned its adjoint in the images.

    Parameters
    ----------
    padding : pair of int
    steps : tuple of int
        In the weight: from one channel of the result to the next, from row to row, from column
        to column, from one channel of the source to the next.
    """
    machine, (_, _, c), (rows, columns, k) = problem.machine, problem.source, problem.result
    whole = 2 if problem.pooled else 1
    rows, columns = rows // whole * whole, columns // whole * whole
    units = _cut(problem, rows, columns, UNIT, TILES)
    block = _block(units, columns, padding, machine.padded(c))
    tiling = _tiling(problem, units, columns)
    tiling.row_step, tiling.column_step, tiling.channel_step = steps[1:]
    count_up = np.arange(c, dtype=np.int32)
    tiling.steps = plan.address(count_up)
    count = units.images * tiling.rows * tiling.columns
    layout = Layout(machine.itemsize)
    layout.part(plan.block_numbers(units, block))
    return plan.images_plan(
        problem, units, block, PRODUCTS * c * machine.padded(k), layout, (count_up,),
        weight=structs.Weight(None, steps[0], k, machine.vectors(k)), winograd=1, tiling=tiling,
        tiles=layout.part(count * tiling.tile_step),
        products=layout.part(count * tiling.product_step),
    )  # fmt: skip


def weight(problem: Problem, padding: Pair) -> Plan:
    """A convolution's adjoint in its weight; the "result" is read, ``plain`` or not."""
    machine, (_, _, c), (rows, columns, k) = problem.machine, problem.source, problem.result
    units = _cut(problem, rows, columns, WEIGHT_UNIT, WEIGHT_TILES)
    image = _block(units, columns, padding, machine.padded(c))
    plain = problem.plain and machine.padded(k) == k and rows % 2 == columns % 2 == 0
    gradient = plan.block_structure(
        Window(0, _even(units.rows)), Window(0, _even(columns)), units.rows, machine.padded(k),
        plain,
    )  # fmt: skip
    tiling = _tiling(problem, units, columns)
    count = units.images * tiling.rows * tiling.columns
    steps = np.arange(count, dtype=np.int32) * np.int32(tiling.tile_step)
    tiling.steps = plan.address(steps)
    layout = Layout(machine.itemsize)
    return weight_plan(
        problem, units, (image, gradient), layout, PRODUCTS * c, (steps,),
        winograd=1, tiling=tiling, tiles=layout.part(count * tiling.tile_step),
        products=layout.part(count * tiling.product_step),
    )  # fmt: skip


def _even(n: int) -> int:
    return n + n % 2


def _tile_numbers(problem: Problem) -> tuple[int, int]:
    """Numbers that a tile takes before and after the products.

    One vector more than needed: at powers of two the tiles would share cache sets.
    """
    machine = problem.machine
    before, after = machine.padded(problem.source[2]), machine.padded(problem.result[2])
    return PRODUCTS * before + machine.lanes, PRODUCTS * after + machine.lanes


def _cut(problem: Problem, rows: int, columns: int, unit_bytes: int, tiles: int) -> Units:
    machine = problem.machine
    tile_bytes = sum(_tile_numbers(problem)) * machine.itemsize
    image_bytes = _even(rows) * _even(columns) // 4 * tile_bytes
    unit_bytes = max(unit_bytes, tiles * tile_bytes)
    return cut(problem.images, rows, 2, image_bytes, unit_bytes, machine.workers)


def _block(units: Units, columns: int, padding: Pair, pitch: int) -> structs.Block:
    """What the tiles of a unit read: 4 x 4 pixels each, 2 apart."""
    height, width = _even(units.rows) + 2, _even(columns) + 2
    return plan.block_structure(
        Window(-padding[0], height), Window(-padding[1], width), units.rows, pitch
    )


def _tiling(problem: Problem, units: Units, columns: int) -> structs.Tiling:
    before, after = _tile_numbers(problem)
    return structs.Tiling(
        rows=_even(units.rows) // 2, last_rows=_even(units.last_rows) // 2,
        columns=_even(columns) // 2, tile_step=before, product_step=after,
        channels=problem.source[2], vectors=problem.machine.vectors(problem.source[2]),
    )  # fmt: skip
