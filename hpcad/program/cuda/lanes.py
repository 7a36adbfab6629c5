"""The text of a few neighbouring elements of a row, which one thread computes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpcad.program.cuda.graph import Graph
from hpcad.program.cuda.reductions import COMBINING
from hpcad.program.cuda.text import unrolled
from hpcad.program.kernels.ir import Store
from hpcad.program.kernels.scalars import (
    C_TYPES,
    ITEMSIZE,
    STORED,
    computed_in,
    convert,
    expression,
    from_memory,
    to_memory,
)
from hpcad.program.kernels.writer import Writer

VECTOR_BYTES = 16  # the widest load and store of one thread


def vectors_of(graph: Graph, width: int) -> frozenset[int]:
    """Operands whose ``width`` neighbouring elements along the row are one load or store.

    Their addresses must be multiples of ``width`` elements: along all other axes they are, and of
    the first element it is asked before the kernel is launched.
    """
    return frozenset(
        number
        for number, operand in enumerate(graph.kernel.operands)
        if width > 1
        and number in graph.loaded | graph.written
        and operand.strides[-1] == 1
        and all(stride % width == 0 for stride in operand.strides[:-1])
    )


def widest(graph: Graph, any_length: bool) -> int:
    """The most elements that one thread can well load at once; 1 where rows do not allow it.

    Parameters
    ----------
    any_length : bool
        Whether a remainder of the row is seen to otherwise.
    """
    used = [graph.kernel.operands[i] for i in graph.loaded | graph.written]
    moving = [ITEMSIZE[o.dtype] for o in used if o.strides[-1] == 1]
    width = VECTOR_BYTES // max(moving, default=VECTOR_BYTES)
    while width > 1 and not (any_length or graph.kernel.extents[-1] % width == 0):
        width //= 2
    return width if vectors_of(graph, width) else 1


@dataclass(frozen=True)
class Pass:
    """What is done in one walk along the row.

    Attributes
    ----------
    computed : sequence of int
        Nodes that vary along the row, arguments first.
    recalled : mapping
        Node -> array in registers that an earlier pass has left.
    kept : mapping
        Node -> array in registers for later passes.
    reductions : sequence of int
        Nodes that are reduced along the row.
    stores : sequence of (int, Store)
        Numbered stores of elements.
    sums : sequence of (Store, str)
        Stores that sum, and what their element is added to.
    """

    computed: Sequence[int] = ()
    recalled: Mapping[int, str] = field(default_factory=dict)
    kept: Mapping[int, str] = field(default_factory=dict)
    reductions: Sequence[int] = ()
    stores: Sequence[tuple[int, Store]] = ()
    sums: Sequence[tuple[Store, str]] = ()


class Lanes:
    """Writes the elements ``c`` to ``c + width`` of a row; ``l`` counts them.

    Parameters
    ----------
    graph : Graph
    width : int
    """

    def __init__(self, graph: Graph, width: int) -> None:
        self.graph, self.width = graph, width
        self.kernel = graph.kernel
        self.vectors = vectors_of(graph, width)
        self.row = len(graph.kernel.extents) - 1

    def element(self, operand: int) -> str:
        """The place of element ``l`` of the group."""
        stride = self.kernel.operands[operand].strides[-1]
        column = f"(i{self.row} + l)" if stride != 1 else f"i{self.row} + l"
        return f"p{operand}[o{operand} + {column}" + (f" * {stride}]" if stride != 1 else "]")

    def write(self, text: Writer, task: Pass) -> None:
        """The whole of a pass for this group of elements."""
        self._load_vectors(text, task)
        with unrolled(text, f"for (int l = 0; l < {self.width}; ++l)"):
            for node, array in task.recalled.items():
                text.add(f"const {self._type(node)} n{node} = {array};")
            for node in task.computed:
                text.add(f"const {self._type(node)} n{node} = {self._value(node)};")
            for node, array in task.kept.items():
                text.add(f"{array} = n{node};")
            for node in task.reductions:
                text.add(f"n{node} = {self._combined(node)};")
            for store, total in task.sums:
                text.add(f"{total} = {self.added(total, store)};")
            for number, store in task.stores:
                self._store(text, number, store)
        for number, store in task.stores:
            if store.operand in self.vectors:
                text.add(f"hp_store(p{store.operand} + o{store.operand} + i{self.row}, w{number});")

    def _load_vectors(self, text: Writer, task: Pass) -> None:
        loads = {
            f"v{node}": self.kernel.nodes[node].detail
            for node in task.computed
            if self.kernel.nodes[node].op == "load"
        }
        loads |= {f"a{number}": s.operand for number, s in task.stores if s.accumulate}
        for name, operand in loads.items():
            if operand in self.vectors:
                place = f"p{operand} + o{operand} + i{self.row}"
                text.add(f"const {self._vector(operand)} {name} = hp_load<{self.width}>({place});")
        for number, store in task.stores:
            if store.operand in self.vectors:
                text.add(f"{self._vector(store.operand)} w{number};")

    def _value(self, number: int) -> str:
        node = self.kernel.nodes[number]
        if node.op != "load":
            return self.graph.value(number)
        vector = node.detail in self.vectors
        stored = f"v{number}.lane[l]" if vector else self.element(node.detail)
        return from_memory(stored, self.kernel.operands[node.detail].dtype)

    def _combined(self, number: int) -> str:
        node = self.kernel.nodes[number]
        names = [f"n{number}", f"n{node.args[0]}"]
        dtypes = [node.dtype, self.kernel.nodes[node.args[0]].dtype]
        return expression(COMBINING[node.op], names, dtypes, node.dtype)

    def added(self, total: str, store: Store) -> str:
        """``total`` and the element, in the type that the operand is computed in."""
        dtype = computed_in(self.kernel.operands[store.operand].dtype)
        value = convert(f"n{store.node}", self.kernel.nodes[store.node].dtype, dtype)
        return expression("add", [total, f"({value})"], [dtype, dtype], dtype)

    def _store(self, text: Writer, number: int, store: Store) -> None:
        vector = store.operand in self.vectors
        target = f"w{number}.lane[l]" if vector else self.element(store.operand)
        old = f"a{number}.lane[l]" if vector else target
        text.add(f"{target} = {self.as_stored(store, old)};")

    def as_stored(self, store: Store, old: str) -> str:
        """What a store writes: its node, added to the element ``old`` where it accumulates."""
        dtype = self.kernel.operands[store.operand].dtype
        if not store.accumulate:
            return to_memory(f"n{store.node}", self.kernel.nodes[store.node].dtype, dtype)
        total = self.added(f"({from_memory(old, dtype)})", store)
        return to_memory(f"({total})", computed_in(dtype), dtype)

    def _type(self, node: int) -> str:
        return C_TYPES[self.kernel.nodes[node].dtype]

    def _vector(self, operand: int) -> str:
        return f"hp_vector<{STORED[self.kernel.operands[operand].dtype]}, {self.width}>"
