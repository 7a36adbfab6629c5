"""When each value of a kernel is computed: once, once per row, or in one of several passes.

A reduction along the row needs a pass over the whole row before anything that uses it. A value per
element that a later pass needs is computed again where that is cheap, else kept in a buffer as
long as the row. So are the values of guarded functions, which are mended after their pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hpcad.program.kernels.ir import ROW_REDUCTIONS, Kernel, Store
from hpcad.program.kernels.nest import Nest
from hpcad.program.kernels.scalars import cost
from hpcad.program.kernels.table import GUARDED

ONCE, PER_ROW, PER_ELEMENT = 0, 1, 2
_RECOMPUTED = 6  # up to here computing again costs less than a buffer written and read


@dataclass
class Pass:
    """One walk along the row.

    Attributes
    ----------
    nodes : list of int
        Computed for every element, in order.
    reductions : list of int
        Whose arguments are reduced on the way.
    kept : list of int
        Written to their buffers.
    read : set of int
        Read from their buffers.
    stores : list of Store
    """

    nodes: list[int] = field(default_factory=list)
    reductions: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    stores: list[Store] = field(default_factory=list)


@dataclass(frozen=True)
class Stages:
    """The schedule of a nest.

    Attributes
    ----------
    once, per_row : list of int
        Nodes outside of all loops, and per row; ``stage`` says before which pass.
    level, stage : list of int
        Per node.
    guarded : set of int
        Values per element of :data:`hpcad.program.kernels.table.GUARDED` functions.
    passes : list of Pass
    row_stores : list of Store
        Of numbers per row, at its end.
    buffers : list of int
    """

    once: list[int]
    per_row: list[int]
    level: list[int]
    stage: list[int]
    guarded: set[int]
    passes: list[Pass]
    row_stores: list[Store]
    buffers: list[int]


def schedule(kernel: Kernel, nest: Nest) -> Stages:
    """Put every node that the stores of the nest need in its place."""
    level = _levels(kernel, nest)
    guarded = {i for i, node in enumerate(kernel.nodes) if node.op in GUARDED}
    guarded = {i for i in guarded if level[i] == PER_ELEMENT}
    stage = _stages(kernel, guarded)
    usable = [number + (i in guarded) for i, number in enumerate(stage)]
    live = _live(kernel, nest)
    row_stores = [s for s in nest.stores if _is_per_row(s, level, nest)]
    passes = [Pass() for _ in range(1 + max([usable[i] for i in live], default=0))]
    for i in live:
        if kernel.nodes[i].op in ROW_REDUCTIONS:
            passes[stage[i] - 1].reductions.append(i)
    for store in nest.stores:
        if store not in row_stores:
            passes[_store_pass(kernel, store, usable, live)].stores.append(store)
    buffers = _fill(kernel, passes, level, stage)
    once = [i for i in live if level[i] == ONCE]
    per_row = [i for i in live if level[i] == PER_ROW]
    return Stages(once, per_row, level, stage, guarded, passes, row_stores, buffers)


def _levels(kernel: Kernel, nest: Nest) -> list[int]:
    levels: list[int] = []
    for node in kernel.nodes:
        if node.op in ("literal", "scalar"):
            levels.append(ONCE)
        elif node.op == "load":
            levels.append(PER_ELEMENT if nest.row.strides[node.detail] else PER_ROW)
        elif node.op == "index":
            along = nest.row.indexed == node.detail
            levels.append(PER_ELEMENT if along else PER_ROW)
        elif node.op in ROW_REDUCTIONS:
            levels.append(PER_ROW)
        else:
            levels.append(max((levels[arg] for arg in node.args), default=ONCE))
    return levels


def _stages(kernel: Kernel, guarded: set[int]) -> list[int]:
    stages: list[int] = []
    for node in kernel.nodes:
        above = max((stages[arg] + (arg in guarded) for arg in node.args), default=0)
        stages.append(above + (node.op in ROW_REDUCTIONS))
    return stages


def _live(kernel: Kernel, nest: Nest) -> list[int]:
    wanted = {store.node for store in nest.stores}
    for i in range(len(kernel.nodes) - 1, -1, -1):
        if i in wanted:
            wanted.update(kernel.nodes[i].args)
    return sorted(wanted)


def _is_per_row(store: Store, level: list[int], nest: Nest) -> bool:
    plain = store.reduce is None and nest.row.strides[store.operand] == 0
    return plain and level[store.node] != PER_ELEMENT


def _store_pass(kernel: Kernel, store: Store, usable: list[int], live: list[int]) -> int:
    """Where the value is there, and the old one of an operand updated in place no longer needed."""
    users = [usable[store.node]]
    if any(kernel.nodes[i].op == "load" and kernel.nodes[i].detail == store.operand for i in live):
        users.append(max(usable[i] for i in live))
    return max(users)


def _fill(kernel: Kernel, passes: list[Pass], level: list[int], stage: list[int]) -> list[int]:
    """Give every pass its nodes, the last one first, because it decides what is kept for it."""
    kept: set[int] = set()
    for number in range(len(passes) - 1, -1, -1):
        here = passes[number]
        here.kept = sorted(i for i in kept if stage[i] == number)
        wanted = {store.node for store in here.stores} | set(here.kept)
        wanted.update(arg for i in here.reductions for arg in kernel.nodes[i].args)
        for i in range(max(wanted, default=-1), -1, -1):
            if i not in wanted or level[i] != PER_ELEMENT:
                continue
            early = stage[i] < number
            if early and (i in kept or not _cheap(kernel, i, level, wanted)):
                kept.add(i)
                here.read.add(i)
            else:
                here.nodes.append(i)
                wanted.update(kernel.nodes[i].args)
        here.nodes.reverse()
    return sorted(kept)


def _cheap(kernel: Kernel, node: int, level: list[int], wanted: set[int]) -> bool:
    """Whether computing a node from what is loaded costs little."""
    total, seen, todo = 0, set(), [node]
    while todo and total <= _RECOMPUTED:
        i = todo.pop()
        if i in seen or level[i] != PER_ELEMENT or (i in wanted and i != node):
            continue
        seen.add(i)
        total += cost(kernel.nodes[i].op)
        todo.extend(kernel.nodes[i].args)
    return total <= _RECOMPUTED
