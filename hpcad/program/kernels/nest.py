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
        a tiled row the tiles are the last axis of ``groups`` or of ``summed``.
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
    tiled = not _reduces_rows(kernel) and row.extent > TILE
    classes: dict[tuple, list[Store]] = {}
    for store in kernel.stores:
        if store.reduce is not None:
            classes.setdefault(_kept(store, outer, row, tiled), []).append(store)
    plain = [store for store in kernel.stores if store.reduce is None]
    ordered = sorted(classes.values(), key=len)  # stable; the most go with the plain stores, last
    sets = [*ordered[:-1], [*plain, *(ordered[-1] if ordered else [])]]
    _refuse_conflicts(kernel, sets)
    return [_nest(outer, row, tiled, tuple(stores)) for stores in sets]


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


def _nest(outer: Sequence[Axis], row: Axis, tiled: bool, stores: tuple[Store, ...]) -> Nest:
    sums = [store.operand for store in stores if store.reduce is not None]
    kept = [all(axis.strides[operand] != 0 for operand in sums) for axis in outer]
    groups = [axis for axis, keep in zip(outer, kept, strict=True) if keep]
    summed = [axis for axis, keep in zip(outer, kept, strict=True) if not keep]
    groups, summed = _merged(groups), _merged(summed)
    tile = row.extent
    if tiled:
        count = -(-row.extent // TILE)
        tile = -(-row.extent // (count * 64)) * 64  # equal tiles of whole cache lines
        count = -(-row.extent // tile)
        tiles = Axis(count, tuple(stride * tile for stride in row.strides), tile=True)
        keeps = all(row.strides[operand] != 0 for operand in sums)
        (groups if keeps else summed).append(tiles)
    return Nest(tuple(groups), tuple(summed), row, tile, tiled, stores)


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
    return [*_merged(axes[:-1]), axes[-1]] if rows else _merged(axes)


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
