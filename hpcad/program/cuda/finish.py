"""The second launch of kernels that sum: it adds the parts that the first has left."""

from __future__ import annotations

import math

from hpcad.program.cuda.graph import Graph
from hpcad.program.cuda.parts import Launch, ceil_div, head
from hpcad.program.cuda.rows import Deal, Total, complete
from hpcad.program.cuda.text import coordinates, offset, running
from hpcad.program.kernels.scalars import C_TYPES, STORED
from hpcad.program.kernels.writer import Writer

BLOCK = 256
FEW = 8  # parts that one thread may as well add alone


def finish(graph: Graph, plan: Deal, entry: str, scratch: bool) -> tuple[Launch, str] | None:
    """The launch and its text; None where the first launch writes all sums itself.

    One row of the grid per sum. In a block, ``threads`` columns of threads are elements of the
    sum; the threads of a column deal the parts among themselves.
    """
    totals = [total for total in plan.totals if not plan.direct(total) and _elements(plan, total)]
    if not totals:
        return None
    text, width = Writer(), 0
    with text.block(head(graph, entry, BLOCK, scratch)):
        for number, total in enumerate(totals):
            with text.block(f"if (blockIdx.y == {number})"):
                _sum(text, graph, plan, total)
            width = max(width, ceil_div(_elements(plan, total), _columns(plan, total)))
    return Launch(entry, (width, len(totals)), BLOCK), text.text()


def _elements(plan: Deal, total: Total) -> int:
    """Elements of the sum."""
    outer = math.prod(plan.extents[axis] for axis in total.kept)
    return outer * (1 if total.along_row else plan.length)


def _parts(plan: Deal, total: Total) -> tuple[list[str], list[int]]:
    """Names and extents of what is still to be summed."""
    axes = [axis for axis in plan.kept if axis not in total.kept]
    tiles = total.along_row and plan.kept_tiles > 1
    names = ["part", *(f"i{axis}" for axis in axes)] + ["tile"] * tiles
    extents = [plan.parts, *(plan.extents[axis] for axis in axes)] + [plan.kept_tiles] * tiles
    return names, extents


def _columns(plan: Deal, total: Total) -> int:
    """Elements of the sum per block, a power of two."""
    if math.prod(_parts(plan, total)[1]) <= FEW:
        return BLOCK
    columns = 1
    while columns < min(_elements(plan, total), 32):
        columns *= 2
    return columns


def _sum(text: Writer, graph: Graph, plan: Deal, total: Total) -> None:
    """One sum: ``e`` counts its elements."""
    kind, columns, elements = graph.index_type, _columns(plan, total), _elements(plan, total)
    axes = [*total.kept, *([] if total.along_row else [len(plan.extents) - 1])]
    text.add(f"const {kind} e = ({kind})blockIdx.x * {columns} + threadIdx.x % {columns};")
    coordinates(text, kind, "e", [f"i{a}" for a in axes], [plan.extents[a] for a in axes])
    text.add(f"{C_TYPES[total.dtype]} sum = 0;")
    if math.prod(_parts(plan, total)[1]) > 0:
        with text.block(f"if (e < {elements})"):
            _add_parts(text, kind, plan, total)
    text.add(f"sum = hp_sum_columns<{columns}>(sum);")
    operand = graph.kernel.operands[total.store.operand]
    place = offset([operand.strides[a] for a in axes], [f"i{a}" for a in axes])
    with text.block(f"if (e < {elements} && threadIdx.x < {columns})"):
        target = f"p{total.store.operand}[{place}]"
        text.add(f"{target} = {complete(total, operand.dtype, target, 'sum')};")


def _add_parts(text: Writer, kind: str, plan: Deal, total: Total) -> None:
    """What this thread adds to the sum: ``q`` counts parts."""
    columns, (names, extents) = _columns(plan, total), _parts(plan, total)
    pointer, beginning = f"const {STORED[total.dtype]} *", plan.beginning(total)
    text.add(f"{pointer}const x = ({pointer})(scratch + {beginning});")
    first, step = f"threadIdx.x / {columns}", BLOCK // columns
    with text.block(f"for ({kind} q = {first}; q < {math.prod(extents)}; q += {step})"):
        coordinates(text, kind, "q", names, extents)
        text.add(f"sum = hp_add()(sum, x[{_place(plan, total)}]);")


def _place(plan: Deal, total: Total) -> str:
    """Where a part of an element lies, as the teams have put it."""
    names = ["part", *(f"i{axis}" for axis in plan.kept)]
    extents = [plan.parts, *(plan.extents[axis] for axis in plan.kept)]
    if not total.along_row:
        names, extents = [*names, f"i{len(plan.extents) - 1}"], [*extents, plan.length]
    elif plan.kept_tiles > 1:
        names, extents = [*names, "tile"], [*extents, plan.kept_tiles]
    return running(names, extents)
