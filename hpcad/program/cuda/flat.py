"""Kernels in which every element is computed alone: a grid-stride loop over groups of them."""

from __future__ import annotations

import math

from hpcad.program.cuda.graph import Graph
from hpcad.program.cuda.lanes import Lanes, Pass, widest
from hpcad.program.cuda.parts import Launch, Variant, ceil_div, head
from hpcad.program.cuda.text import coordinates, offset
from hpcad.program.kernels.scalars import C_TYPES, ITEMSIZE, from_memory
from hpcad.program.kernels.writer import Writer

BLOCK = 256
MOST_BLOCKS = (
    4096  # thirty per multiprocessor of a large device; a thread then takes several groups
)


def flat_variants(graph: Graph, name: str) -> tuple[Variant, ...]:
    """The kernel with vectors, if it has any, and the kernel for addresses that forbid them."""
    width = widest(graph, any_length=len(graph.kernel.extents) == 1)
    widths = [width] if width == 1 else [width, 1]
    return tuple(_variant(graph, name, width) for width in widths)


def _variant(graph: Graph, name: str, width: int) -> Variant:
    kernel, lanes = graph.kernel, Lanes(graph, width)
    groups = math.prod(kernel.extents[:-1]) * (kernel.extents[-1] // width)
    alignment = tuple(
        ITEMSIZE[o.dtype] * (width if i in lanes.vectors else 1)
        for i, o in enumerate(kernel.operands)
    )
    entry = f"{name}_v{width}"
    if math.prod(kernel.extents) == 0:
        return Variant(alignment, (), "")
    blocks = min(max(ceil_div(groups, BLOCK), 1), MOST_BLOCKS)
    source = _source(graph, entry, lanes, groups)
    return Variant(alignment, (Launch(entry, (blocks, 1), BLOCK),), source)


def _source(graph: Graph, entry: str, lanes: Lanes, groups: int) -> str:
    kernel, width, kind = graph.kernel, lanes.width, graph.index_type
    row, text = len(kernel.extents) - 1, Writer()
    with text.block(head(graph, entry, BLOCK, scratch=False)):
        text.add(f"const {kind} thread = ({kind})blockIdx.x * {BLOCK} + threadIdx.x;")
        stride = f"({kind})gridDim.x * {BLOCK}"
        with text.block(f"for ({kind} g = thread; g < {groups}; g += {stride})"):
            extents = [*kernel.extents[:-1], max(kernel.extents[-1] // width, 1)]
            names = [f"i{axis}" for axis in range(row)]
            coordinates(text, kind, "g", [*names, "group"], extents)
            text.add(f"const {kind} i{row} = group * {width};")
            _elements(text, graph, lanes)
        rest = kernel.extents[-1] % width
        if rest:  # only of kernels with one axis
            with text.block(f"if (thread < {rest})"):
                text.add(f"const {kind} i{row} = {kernel.extents[-1] - rest} + thread;")
                _elements(text, graph, Lanes(graph, 1))
    return text.text()


def _elements(text: Writer, graph: Graph, lanes: Lanes) -> None:
    declare_offsets(text, graph)
    for number in graph.needed:
        if not graph.varies[number]:
            declare_row_value(text, graph, number)
    computed = [number for number in graph.needed if graph.varies[number]]
    lanes.write(text, Pass(computed=computed, stores=list(enumerate(graph.kernel.stores))))


def declare_offsets(text: Writer, graph: Graph) -> None:
    """Where the row of each operand begins."""
    names = [f"i{axis}" for axis in range(len(graph.kernel.extents) - 1)]
    for number in sorted(graph.loaded | graph.written):
        strides = graph.kernel.operands[number].strides[:-1]
        text.add(f"const {graph.index_type} o{number} = {offset(strides, names)};")


def declare_row_value(text: Writer, graph: Graph, number: int) -> None:
    """A node that is one number per row."""
    node = graph.kernel.nodes[number]
    if node.op == "load":
        operand = graph.kernel.operands[node.detail]
        value = from_memory(f"p{node.detail}[o{node.detail}]", operand.dtype)
    else:
        value = graph.value(number)
    text.add(f"const {C_TYPES[node.dtype]} n{number} = {value};")
