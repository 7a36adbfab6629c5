"""What a collective costs on a machine with levels, and which algorithm is the fastest for it.

Of n bytes on each of P ranks, with latency a and bandwidth B of a level and m members in a group:

ring
    One ring through all ranks. A piece passes 2 (P - 1) links, of which those between groups have
    the latency of their level, and the narrowest link sets the pace: ``sum of latencies +
    2 (P - 1) / P n / min B``. The cost model of NCCL's rings (NVIDIA/nccl, src/graph/tuning.cc);
    with one level the one of Patarasuk & Yuan 2009 (doi:10.1016/j.jpdc.2008.09.002).
tree
    Two binary trees over the nodes, each with half of the numbers, and chains inside of them
    (NCCL's double trees; Sanders, Speck & Traeff 2009, doi:10.1016/j.parco.2009.09.001):
    ``2 (sum of (m - 1) a in nodes + sum of ceil(log2 m) a between nodes) + 2 n / min B``.
hierarchical
    Reduce-scatter in every group of the first level, then among groups of the next one, each rank
    with its part, an allreduce at the outermost, and allgathers back. Each is a ring. The stages
    keep only their own level busy, so that messages pass each other.
halving
    The same by recursive halving and doubling: ceil(log2 m) messages in the place of m - 1
    (Thakur, Rabenseifner & Gropp 2005, doi:10.1177/1094342005051521). Where m is no power of two,
    the ranks beyond it hand their numbers over before and get sums after: 2 (a + n / B) more.

Additions are not told apart from sending, and are part of 1 / B.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpcad.scaling.simulation.machine import Level, Machine

Kind = Literal["allreduce", "reduce-scatter", "allgather"]
#: Passes over the ring, and directions: an allreduce is the two others one after the other.
_PASSES = {"allreduce": 2, "reduce-scatter": 1, "allgather": 1}


@dataclass(frozen=True)
class Stage:
    """A part of a collective: the levels that it keeps busy, and for how long."""

    levels: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Cost:
    """A collective: its stages, one after the other, and the algorithm."""

    stages: tuple[Stage, ...]
    algorithm: str

    @property
    def seconds(self) -> float:
        """When nothing else is under way."""
        return sum(stage.seconds for stage in self.stages)


@dataclass(frozen=True)
class _Asked:
    """A collective to be priced.

    Attributes
    ----------
    used : list of (int, Level, int)
        Levels with more than one member: number, level, members.
    in_nodes : int
        Levels before this number are inside of a node.
    """

    used: list[tuple[int, Level, int]]
    in_nodes: int
    ranks: int
    nbytes: float
    kind: Kind

    @property
    def narrowest(self) -> float:
        return min(level.bandwidth for _, level, _ in self.used)

    @property
    def every_level(self) -> tuple[int, ...]:
        return tuple(i for i, _, _ in self.used)


def collective(machine: Machine, ranks: int, nbytes: float, kind: Kind = "allreduce") -> Cost:
    """The cost of a collective of ``nbytes`` on each of ``ranks`` ranks, by its fastest algorithm.

    Parameters
    ----------
    nbytes
        Of the whole array: what an allreduce sums, what an allgather has made in the end.
    """
    if ranks == 1:
        return Cost((), "none")
    numbered = zip(machine.levels.values(), machine.members(ranks), strict=True)
    used = [(i, level, m) for i, (level, m) in enumerate(numbered) if m > 1]
    asked = _Asked(used, _levels_in_nodes(machine), ranks, nbytes, kind)
    costs = [
        _ALGORITHMS[name](asked)
        for name in machine.collectives.algorithms
        if kind == "allreduce" or name != "tree"
    ] or [_ring(asked)]
    best = min(costs, key=lambda cost: cost.seconds)
    if machine.collectives.overhead == 0:
        return best
    first = best.stages[0]
    slower = Stage(first.levels, first.seconds + machine.collectives.overhead)
    return Cost((slower, *best.stages[1:]), best.algorithm)


def _levels_in_nodes(machine: Machine) -> int:
    size = 1
    for number, level in enumerate(machine.levels.values()):
        size *= level.size or machine.ranks_per_node + 1
        if size > machine.ranks_per_node:
            return number
    return len(machine.levels)


def _ring(asked: _Asked) -> Cost:
    passes, latency, outside = _PASSES[asked.kind], 0.0, 1
    for _, level, m in reversed(asked.used):  # the links within a group, times the groups
        reached = min(outside * m, asked.ranks)
        latency += (reached - outside) * level.latency
        outside = reached
    sent = (asked.ranks - 1) / asked.ranks * asked.nbytes / asked.narrowest
    return Cost((Stage(asked.every_level, passes * (latency + sent)),), "ring")


def _tree(asked: _Asked) -> Cost:
    latency = sum(
        (m - 1 if i < asked.in_nodes else math.ceil(math.log2(m))) * level.latency
        for i, level, m in asked.used
    )
    seconds = 2 * (latency + asked.nbytes / asked.narrowest)
    return Cost((Stage(asked.every_level, seconds),), "tree")


def _staged(asked: _Asked, name: str) -> Cost:
    once = [Stage((i,), _one_way(level, m, asked.nbytes, name)) for i, level, m in asked.used]
    if asked.kind == "reduce-scatter":
        return Cost(tuple(once), name)
    if asked.kind == "allgather":
        return Cost(tuple(reversed(once)), name)
    *inner, outermost = once
    both = Stage(outermost.levels, 2 * outermost.seconds)
    return Cost((*inner, both, *reversed(inner)), name)


def _one_way(level: Level, members: int, nbytes: float, name: str) -> float:
    """A reduce-scatter, or an allgather: half of an allreduce.

    A member holds ``nbytes``, whatever it consists of: its ranks have divided them.
    """
    if level.measured:
        return _measured(level, members, nbytes) / 2
    share = (members - 1) / members * nbytes / level.bandwidth
    if name == "hierarchical":
        return (members - 1) * level.latency + share
    power = 2 ** int(math.log2(members))
    if power == members:
        return int(math.log2(members)) * level.latency + share
    extra = level.latency + nbytes / level.bandwidth
    halves = (power - 1) / power * nbytes / level.bandwidth
    return int(math.log2(power)) * level.latency + halves + extra


def _measured(level: Level, members: int, nbytes: float) -> float:
    table = np.array(sorted(level.measured))
    at = np.log(members)
    seconds, bandwidth = (
        float(np.exp(np.interp(at, np.log(table[:, 0]), np.log(table[:, i])))) for i in (1, 2)
    )
    return seconds + nbytes / bandwidth


_ALGORITHMS: dict[str, Callable[[_Asked], Cost]] = {
    "ring": _ring,
    "tree": _tree,
    "hierarchical": lambda asked: _staged(asked, "hierarchical"),
    "halving": lambda asked: _staged(asked, "halving"),
}
