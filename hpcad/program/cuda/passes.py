"""The walks along a row that its reductions ask for.

Walk ``d`` makes the reductions of depth ``d``; one more, after all of them, stores.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpcad.program.cuda.graph import Graph
from hpcad.program.kernels.ir import ROW_REDUCTIONS
from hpcad.program.kernels.scalars import ITEMSIZE


@dataclass(frozen=True)
class Walk:
    """What one walk along a row does; all lists are of nodes, arguments first.

    Attributes
    ----------
    computed : list of int
        Those that vary along the row and are computed in this walk.
    recalled, kept : list of int
        Those that an earlier walk has kept, and that this one keeps for later ones.
    reductions : list of int
    before : list of int
        Numbers of the row that are known before it, and were not before the walk before.
    """

    computed: list[int]
    recalled: list[int]
    kept: list[int]
    reductions: list[int]
    before: list[int]


def walks(graph: Graph, held: bool) -> list[Walk]:
    """All walks of a row, in order.

    Parameters
    ----------
    held : bool
        Whether values stay in registers between walks; else they are computed, and their
        operands loaded, again.
    """
    final = max((graph.depth[number] for number in graph.needed), default=0) + 1
    needed = [_used(graph, turn, final) for turn in range(1, final + 1)]
    computed: list[list[int]] = []
    recalled: list[list[int]] = []
    known: set[int] = set()
    for used in needed:
        recalled.append([])
        computed.append(_reached(graph, used, known if held else set(), recalled[-1]))
        known |= {n for n in computed[-1] if graph.kernel.nodes[n].op != "index"}
    return [
        Walk(
            computed=computed[turn],
            recalled=recalled[turn],
            kept=[n for n in computed[turn] if any(n in later for later in recalled[turn + 1 :])],
            reductions=_reductions(graph, turn + 1),
            before=_numbers_of_row(graph, turn),
        )
        for turn in range(final)
    ]


def held_values(graph: Graph) -> int:
    """The most 4-byte registers per element that are alive between two walks."""
    order = walks(graph, held=True)
    first = {node: turn for turn, walk in enumerate(order) for node in walk.kept}
    last = {node: turn for turn, walk in enumerate(order) for node in walk.recalled}
    sizes = {node: max(ITEMSIZE[graph.kernel.nodes[node].dtype] // 4, 1) for node in first}
    return max(
        sum(size for node, size in sizes.items() if first[node] <= turn < last[node])
        for turn in range(len(order))
    )


def _used(graph: Graph, turn: int, final: int) -> list[int]:
    """Nodes that vary along the row and that walk ``turn`` reduces or stores."""
    if turn == final:
        return [s.node for s in graph.kernel.stores if graph.varies[s.node]]
    arguments = [graph.kernel.nodes[number].args[0] for number in _reductions(graph, turn)]
    return [argument for argument in arguments if graph.varies[argument]]


def _reductions(graph: Graph, turn: int) -> list[int]:
    return [
        number
        for number in graph.needed
        if graph.kernel.nodes[number].op in ROW_REDUCTIONS and graph.depth[number] == turn
    ]


def _numbers_of_row(graph: Graph, turn: int) -> list[int]:
    return [
        number
        for number in graph.needed
        if not graph.varies[number]
        and graph.depth[number] == turn
        and graph.kernel.nodes[number].op not in ROW_REDUCTIONS
    ]


def _reached(graph: Graph, used: list[int], known: set[int], recalled: list[int]) -> list[int]:
    """Nodes to compute for ``used``; those ``known`` that they need are put into ``recalled``."""
    found, waiting = set[int](), list(used)
    while waiting:
        number = waiting.pop()
        if number in known:
            if number not in recalled:
                recalled.append(number)
        elif number not in found:
            found.add(number)
            waiting += [a for a in graph.kernel.nodes[number].args if graph.varies[a]]
    recalled.sort()
    return sorted(found)
