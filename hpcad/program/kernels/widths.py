"""Widths of values: loops over elements of one width make full use of vector registers.

Indices are int64 as NumPy has them, but fit 32 bits in all loops there are; comparing them in 64
bits beside float32 halves the speed. And where a byte of a mask is loaded among float32, compilers
work on 64 elements at a time: too many for the registers, and for short rows. Such masks are
spread out to 32 bits by a loop of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from hpcad.program.kernels.ir import Kernel, Node
from hpcad.program.kernels.nest import Nest
from hpcad.program.kernels.scalars import cost
from hpcad.program.kernels.stages import PER_ELEMENT, Stages
from hpcad.program.kernels.table import DEAR

COMPARISONS = ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")
LARGEST = 2**31 - 2  # of an index; one less than the largest int32, which stands for "beyond"
_SHORT = 256  # elements
_STEPS: dict[str, Callable[..., tuple[int, int]]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "subtract": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "negative": lambda a: (-a[1], -a[0]),
    "maximum": lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
    "minimum": lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
}


def narrow_integers(kernel: Kernel) -> frozenset[int]:
    """The int64 nodes that fit 32 bits: indices, and what is made of them and of literals."""
    ranges: dict[int, tuple[int, int]] = {}
    for i, node in enumerate(kernel.nodes):
        found = _range(kernel, node, ranges)
        if found is not None and found[0] >= -LARGEST and found[1] <= LARGEST:
            ranges[i] = found
    return frozenset(ranges)


def _range(
    kernel: Kernel, node: Node, ranges: dict[int, tuple[int, int]]
) -> tuple[int, int] | None:
    if node.dtype != "int64":
        return None
    if node.op == "index":
        return 0, kernel.extents[node.detail] - 1
    if node.op == "literal":
        return int(node.detail), int(node.detail)
    if node.op in _STEPS and all(arg in ranges for arg in node.args):
        return _STEPS[node.op](*(ranges[arg] for arg in node.args))
    return None


def spread_masks(kernel: Kernel, nest: Nest, stages: Stages) -> list[int]:
    """The loads of booleans per element that a loop of their own spreads out."""
    loads = {
        i
        for step in stages.passes
        for i in step.nodes
        if kernel.nodes[i].op == "load" and kernel.nodes[i].dtype == "bool"
    }
    return sorted(loads) if _delicate(kernel, nest, stages) else []


def mask_stores(kernel: Kernel, nest: Nest, stages: Stages) -> list[int]:
    """The operands of booleans, stored per element, that a loop of their own packs."""
    stores = {
        store.operand
        for step in stages.passes
        for store in step.stores
        if kernel.operands[store.operand].dtype == "bool" and not store.accumulate
    }
    return sorted(stores) if _delicate(kernel, nest, stages) else []


def mask_type(kernel: Kernel, stages: Stages) -> str:
    """As wide as the numbers that are chosen by the masks."""
    values = [i for step in stages.passes for i in step.nodes]
    narrow = any(kernel.nodes[i].dtype in ("float32", "int32") for i in values)
    return "int32_t" if narrow or not values else "int64_t"


def _delicate(kernel: Kernel, nest: Nest, stages: Stages) -> bool:
    if nest.tile < _SHORT:
        return True
    values = [i for step in stages.passes for i in step.nodes]
    return any(cost(kernel.nodes[i].op) >= DEAR for i in values if stages.level[i] == PER_ELEMENT)
