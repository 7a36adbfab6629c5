"""What is known of the nodes of a kernel before any text is written."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from hpcad.program.kernels.ir import ROW_REDUCTIONS, Kernel
from hpcad.program.kernels.scalars import convert, expression, literal


class Graph:
    """The nodes of a kernel: which vary along the row, and after which reductions they come.

    Parameters
    ----------
    kernel : Kernel
        In normal form.

    Attributes
    ----------
    kernel : Kernel
    varies : list of bool
        Whether a node is a number per element; else it is one per row.
    depth : list of int
        Reductions along the row that must be complete, one after the other, before a node is
        known. A reduction itself counts.
    needed : list of int
        Nodes that some store depends on, arguments first.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.varies: list[bool] = []
        self.depth: list[int] = []
        row = len(kernel.extents) - 1
        for node in kernel.nodes:
            if node.op == "load":
                varies = kernel.operands[node.detail].strides[-1] != 0
            elif node.op == "index":
                varies = node.detail == row
            else:
                varies = any(self.varies[a] for a in node.args) and node.op not in ROW_REDUCTIONS
            self.varies.append(varies)
            below = max((self.depth[a] for a in node.args), default=0)
            self.depth.append(below + (node.op in ROW_REDUCTIONS))
        self.needed = self.ancestors(store.node for store in kernel.stores)

    def ancestors(self, nodes: Iterable[int]) -> list[int]:
        """``nodes`` and all they depend on, arguments first."""
        found, waiting = set[int](), list(nodes)
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                waiting.extend(self.kernel.nodes[number].args)
        return sorted(found)

    @functools.cached_property
    def written(self) -> frozenset[int]:
        """Operands that are stored to."""
        return frozenset(store.operand for store in self.kernel.stores)

    @functools.cached_property
    def loaded(self) -> frozenset[int]:
        """Operands that are loaded by a node that is needed."""
        nodes = (self.kernel.nodes[number] for number in self.needed)
        return frozenset(node.detail for node in nodes if node.op == "load")

    @functools.cached_property
    def index_type(self) -> str:
        """The type in C that holds every place in every operand, and every loop index."""
        farthest = max(
            (
                sum(abs(s) * max(n - 1, 0) for s, n in zip(o.strides, extents, strict=True))
                for extents in (self.kernel.extents,)
                for o in self.kernel.operands
            ),
            default=0,
        )
        count = 1
        for extent in self.kernel.extents:
            count *= max(extent, 1)
        # A grid strides past the end by at most its own size, and a row by less than 2^17.
        return "int" if max(farthest, count) < 2**31 - 2**24 else "int64_t"

    def value(self, number: int) -> str:
        """The expression of a node that is neither a load nor a reduction, of ``n0``, ``n1``..."""
        node = self.kernel.nodes[number]
        if node.op == "literal":
            return literal(node.detail, node.dtype)
        if node.op == "scalar":
            return convert(f"s{node.detail}", self.kernel.scalars[node.detail], node.dtype)
        if node.op == "index":
            last = node.detail == len(self.kernel.extents) - 1
            place = f"(int64_t)(i{node.detail} + l)" if last else f"(int64_t)i{node.detail}"
            return convert(f"({place})", "int64", node.dtype)
        dtypes = [self.kernel.nodes[a].dtype for a in node.args]
        return expression(node.op, [f"n{a}" for a in node.args], dtypes, node.dtype)
