"""The loops of a kernel: which axes are merged, where sums are kept, what can run in parallel.

Plain axes may be walked in any order. Axes that some reducing store sums over are walked inside of
those that all keep, so that a sum is complete, and written once, when the inner loops are done:

    for every group (the kept axes)        -- threads share these
        for every summed index
            for every element of the row

A row without reductions along it is cut into tiles, which then are one more axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcad.program.kernels.ir import ROW_REDUCTIONS, Kernel, Store

TILE = 4096  # elements: a few arrays of them fit the first-level cache
CROSSED = 16  # elements of a tile of rows along which an array jumps
_ROW = 16  # elements: shorter axes are not worth being made the row


@dataclass(frozen=True)
class Axis:
    """A loop; ``strides`` in elements, one per operand.

    ``indexed`` is the axis of the kernel that it stands for, if some node asks for its index.
    ``tile`` marks the axis of the tiles of the row.
    """

    extent: int
    strides: tuple[int, ...]
    indexed: int | None = None
    tile: bool = False


@dataclass(frozen=True)
class Nest:
    """The loops around a set of stores.

    Attributes
    ----------
    groups, summed : tuple of Axis
    row : Axis
        The whole of it.
    tile : int
        How many elements of the row are walked at a time: all, or (``tiled``) those of a tile. Of
        a tiled row the tiles are an axis of ``groups`` or of ``summed``.
    tiled : bool
    stores : tuple of Store
    """

    groups: tuple[Axis, ...]
    summed: tuple[Axis, ...]
    row: Axis
    tile: int
    tiled: bool
    stores: tuple[Store, ...]


def nests(kernel: Kernel) -> list[Nest]:
    """The loops of a kernel: one nest, unless its sums go along different axes.

    Raises
    ------
    ValueError
        An axis of no elements; or sums along different axes, one of them into an operand that is
        also loaded.
    """
    if 0 in kernel.extents:
        raise ValueError(f"a kernel over {kernel.extents} computes nothing; leave it out")
    axes = _axes(kernel)
    outer, row = axes[:-1], axes[-1]
    may_tile = not _reduces_rows(kernel)
    tiled = may_tile and row.extent > TILE
    classes: dict[tuple, list[Store]] = {}
    for store in kernel.stores:
        if store.reduce is not None:
            classes.setdefault(_kept(store, outer, row, tiled), []).append(store)
    plain = [store for store in kernel.stores if store.reduce is None]
    ordered = sorted(classes.values(), key=len)  # stable; the most go with the plain stores, last
    sets = [*ordered[:-1], [*plain, *(ordered[-1] if ordered else [])]]
    _refuse_conflicts(kernel, sets)
    return [_nest(outer, row, may_tile, tuple(stores)) for stores in sets]


def _reduces_rows(kernel: Kernel) -> bool:
    return any(node.op in ROW_REDUCTIONS for node in kernel.nodes)


def _kept(store: Store, outer: Sequence[Axis], row: Axis, tiled: bool) -> tuple:
    kept = tuple(i for i, axis in enumerate(outer) if axis.strides[store.operand] != 0)
    return kept, tiled and row.strides[store.operand] != 0


def _refuse_conflicts(kernel: Kernel, sets: Sequence[Sequence[Store]]) -> None:
    loaded = {node.detail for node in kernel.nodes if node.op == "load"}
    early = {store.operand for stores in sets[:-1] for store in stores}
    if loaded & early:
        raise ValueError(
            f"operands {sorted(loaded & early)} are loaded and get sums along other axes than the "
            "rest; put these sums into a kernel of their own"
        )


def _nest(outer: Sequence[Axis], row: Axis, may_tile: bool, stores: tuple[Store, ...]) -> Nest:
    sums = [store.operand for store in stores if store.reduce is not None]
    kept = [all(axis.strides[operand] != 0 for operand in sums) for axis in outer]
    groups = [axis for axis, keep in zip(outer, kept, strict=True) if keep]
    summed = [axis for axis, keep in zip(outer, kept, strict=True) if not keep]
    groups, summed = _merged(groups), _merged(summed)
    keeps = all(row.strides[operand] != 0 for operand in sums)
    crossing = _crossing(groups, row) if may_tile and keeps else None
    tile = row.extent
    if crossing is not None:
        tile = CROSSED
        groups.insert(crossing, _tiles(row, tile))
    elif may_tile and row.extent > TILE:
        count = -(-row.extent // TILE)
        tile = -(-row.extent // (count * 64)) * 64  # equal tiles of whole cache lines
        (groups if keeps else summed).append(_tiles(row, tile))
    return Nest(tuple(groups), tuple(summed), row, tile, tile < row.extent, stores)


def _tiles(row: Axis, tile: int) -> Axis:
    strides = tuple(stride * tile for stride in row.strides)
    return Axis(-(-row.extent // tile), strides, tile=True)


def _crossing(groups: Sequence[Axis], row: Axis) -> int | None:
    """The first axis along which an array is contiguous that jumps along the row.

    Short tiles of the row, walked along that axis, use all of a cache line while it is there.
    """
    if row.extent < 2 * CROSSED:
        return None
    for k, axis in enumerate(groups):
        jumps = [
            abs(stride) == 1 and abs(along) >= _ROW
            for stride, along in zip(axis.strides, row.strides, strict=True)
        ]
        if axis.extent >= _ROW and any(jumps):
            return k
    return None


def _axes(kernel: Kernel) -> list[Axis]:
    """The axes, those of one element left out and neighbours merged where strides allow it."""
    indexed = {node.detail for node in kernel.nodes if node.op == "index"}
    rows = _reduces_rows(kernel)
    last = len(kernel.extents) - 1
    axes = []
    for i, extent in enumerate(kernel.extents):
        if extent != 1 or (i == last and rows):
            strides = tuple(operand.strides[i] for operand in kernel.operands)
            axes.append(Axis(extent, strides, i if i in indexed else None))
    if not axes:
        axes.append(Axis(1, (0,) * len(kernel.operands)))
    if rows:
        return [*_merged(axes[:-1]), axes[-1]]
    return _merged(_row_last(kernel, axes))


def _row_last(kernel: Kernel, axes: list[Axis]) -> list[Axis]:
    """The axis along which most arrays are contiguous as the row, those that are stored first.

    Not where a store writes one number per row of the kernel.
    """
    stored = [store.operand for store in kernel.stores]
    plain = [store.operand for store in kernel.stores if store.reduce is None]
    if any(axis.strides[operand] == 0 for axis in axes for operand in plain):
        return axes

    def contiguous(axis: Axis) -> int:
        unit = [abs(stride) == 1 for stride in axis.strides]
        return sum(unit) + sum(unit[operand] for operand in stored)

    best = max(reversed(axes), key=contiguous)  # of equals, the last
    if best.extent < _ROW or contiguous(best) == contiguous(axes[-1]):
        return axes
    return [*(axis for axis in axes if axis is not best), best]


def _merged(axes: Sequence[Axis]) -> list[Axis]:
    """Neighbours made one where every operand steps through both as through one."""
    found: list[Axis] = []
    for axis in axes:
        if found and _continues(found[-1], axis):
            found[-1] = Axis(found[-1].extent * axis.extent, axis.strides)
        else:
            found.append(axis)
    return found


def _continues(outer: Axis, inner: Axis) -> bool:
    if outer.indexed is not None or inner.indexed is not None:
        return False
    return all(o == i * inner.extent for o, i in zip(outer.strides, inner.strides, strict=True))
