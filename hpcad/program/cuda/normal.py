"""A kernel with as few loops as it can have: what the generators of CUDA C++ start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpcad.program.kernels.ir import ROW_REDUCTIONS, Kernel, Node, Operand, Store


def normalise(kernel: Kernel) -> Kernel:
    """Drop axes of extent 1, and merge axes that all operands walk as one.

    Where no node reduces along the row, the axes are first put into the order in which an operand
    that is written lies in memory, so that neighbouring threads touch neighbouring elements.
    Computed values and stored elements are the same; sums may be taken in another order.
    """
    if kernel.extents[-1] == 1:
        kernel = replace(kernel, nodes=tuple(_without_reduction(n) for n in kernel.nodes))
    kernel = _without_ones(kernel)
    kernel = replace(kernel, stores=tuple(_plain(kernel, store) for store in kernel.stores))
    if not reduces(kernel):
        kernel = _in_memory_order(kernel)
    return _merged(kernel)


def reduces(kernel: Kernel) -> bool:
    """Whether any node is a reduction along the row."""
    return any(node.op in ROW_REDUCTIONS for node in kernel.nodes)


def _without_reduction(node: Node) -> Node:
    """A reduction of rows of one element as a conversion."""
    return replace(node, op="cast") if node.op in ROW_REDUCTIONS else node


def _plain(kernel: Kernel, store: Store) -> Store:
    """A sum over no axes as an ordinary store."""
    return store if 0 in kernel.operands[store.operand].strides else replace(store, reduce=None)


def _without_ones(kernel: Kernel) -> Kernel:
    kept = [axis for axis, extent in enumerate(kernel.extents) if extent != 1]
    if reduces(kernel) and len(kernel.extents) - 1 not in kept:
        kept.append(len(kernel.extents) - 1)
    return _of_axes(kernel, kept or [len(kernel.extents) - 1])


def _of_axes(kernel: Kernel, axes: Sequence[int]) -> Kernel:
    """The kernel with these axes in this order; all others have extent 1."""
    places = {axis: place for place, axis in enumerate(axes)}

    def moved(node: Node) -> Node:
        if node.op != "index":
            return node
        if node.detail in places:
            return replace(node, detail=places[node.detail])
        return replace(node, op="literal", detail=0)

    return replace(
        kernel,
        extents=tuple(kernel.extents[axis] for axis in axes),
        operands=tuple(
            Operand(o.dtype, tuple(o.strides[axis] for axis in axes)) for o in kernel.operands
        ),
        nodes=tuple(moved(node) for node in kernel.nodes),
    )


def _in_memory_order(kernel: Kernel) -> Kernel:
    written = [kernel.operands[s.operand] for s in kernel.stores if s.reduce is None]
    if any(0 in operand.strides for operand in written):
        return kernel  # one number per row is written: the row must stay the row
    leading = written or [o for o in kernel.operands if 0 not in o.strides]
    if not leading:
        return kernel
    strides = leading[0].strides
    return _of_axes(kernel, sorted(range(len(strides)), key=lambda axis: -abs(strides[axis])))


def _merged(kernel: Kernel) -> Kernel:
    """Outer axes with the next one; the row, too, if nothing is reduced along it."""
    last = len(kernel.extents) - (2 if reduces(kernel) else 1)
    axis = 0
    while axis < last:
        if _one_walk(kernel, axis):
            kernel = _merge(kernel, axis)
            last -= 1
        else:
            axis += 1
    return kernel


def _one_walk(kernel: Kernel, axis: int) -> bool:
    indexed = {node.detail for node in kernel.nodes if node.op == "index"}
    extent = kernel.extents[axis + 1]
    if extent == 0:
        return False  # any stride would do
    walks = all(o.strides[axis] == o.strides[axis + 1] * extent for o in kernel.operands)
    return walks and not indexed & {axis, axis + 1}


def _merge(kernel: Kernel, axis: int) -> Kernel:
    """Axes ``axis`` and ``axis + 1`` as one."""
    extents = list(kernel.extents)
    extents[axis : axis + 2] = [extents[axis] * extents[axis + 1]]

    def moved(node: Node) -> Node:
        later = node.op == "index" and node.detail > axis
        return replace(node, detail=node.detail - 1) if later else node

    return replace(
        kernel,
        extents=tuple(extents),
        operands=tuple(
            Operand(o.dtype, o.strides[:axis] + o.strides[axis + 1 :]) for o in kernel.operands
        ),
        nodes=tuple(moved(node) for node in kernel.nodes),
    )
