"""What a collective costs on a machine with levels, and which algorithm is the fastest for it.

Of n bytes on each of P ranks, with latency a and bandwidth B of a level and m members in a group:

ring
    One ring through all ranks. A piece passes 2 (P - 1) links, of which those between groups have
    the latency of their level, and the narrowest link sets the pace: ``sum of latencies +
    2 (P - 1) / P n / min B``. The cost model of NCCL's rings (NVIDIA/nccl, src/graph/tuning.cc);
    with one level the one of Patarasuk & Yuan 2009 (doi:10.1016/j.jpdc.2008.09.002).
tree
    Two binary trees over the outermost groups, each with half of the numbers, chains inside
    (NCCL's double trees; Sanders, Speck & Traeff 2009, doi:10.1016/j.parco.2009.09.001):
    ``2 (sum of (m - 1) a inside + ceil(log2 m) a outside) + 2 n / min B``.
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
from collections.abc import Sequence
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


def collective(machine: Machine, ranks: int, nbytes: float, kind: Kind = "allreduce") -> Cost:
    """The cost of a collective of ``nbytes`` on each of ``ranks`` ranks, by its fastest algorithm.

    Parameters
    ----------
    nbytes
        Of the whole array: what an allreduce sums, what an allgather has made in the end.
    """
    members = machine.members(ranks)
    levels = list(machine.levels.values())
    if ranks == 1:
        return Cost((), "none")
    costs = [
        _ALGORITHMS[name](levels, members, ranks, nbytes, kind)
        for name in machine.collectives.algorithms
        if kind == "allreduce" or name != "tree"
    ] or [_ring(levels, members, ranks, nbytes, kind)]
    best = min(costs, key=lambda cost: cost.seconds)
    if machine.collectives.overhead == 0:
        return best
    first = best.stages[0]
    slower = Stage(first.levels, first.seconds + machine.collectives.overhead)
    return Cost((slower, *best.stages[1:]), best.algorithm)


def _used(levels: Sequence[Level], members: Sequence[int]) -> list[tuple[int, Level, int]]:
    """Levels with more than one member, with their numbers."""
    numbered = zip(range(len(levels)), levels, members, strict=True)
    return [(i, level, m) for i, level, m in numbered if m > 1]


def _ring(
    levels: Sequence[Level], members: Sequence[int], ranks: int, nbytes: float, kind: Kind
) -> Cost:
    used, passes = _used(levels, members), _PASSES[kind]
    latency, outside = 0.0, 1
    for _, level, m in reversed(used):  # the links within a group, times the groups
        links = min(outside * m, ranks) - outside
        latency += links * level.latency
        outside = min(outside * m, ranks)
    narrow = min(level.bandwidth for _, level, _ in used)
    seconds = passes * (latency + (ranks - 1) / ranks * nbytes / narrow)
    return Cost((Stage(tuple(i for i, _, _ in used), seconds),), "ring")


def _tree(
    levels: Sequence[Level], members: Sequence[int], ranks: int, nbytes: float, kind: Kind
) -> Cost:
    used = _used(levels, members)
    *inside, (_, outermost, m) = used
    latency = sum((k - 1) * level.latency for _, level, k in inside)
    latency += math.ceil(math.log2(m)) * outermost.latency
    narrow = min(level.bandwidth for _, level, _ in used)
    seconds = 2 * (latency + nbytes / narrow)
    return Cost((Stage(tuple(i for i, _, _ in used), seconds),), "tree")


def _hierarchical(
    levels: Sequence[Level], members: Sequence[int], ranks: int, nbytes: float, kind: Kind
) -> Cost:
    return _staged(levels, members, nbytes, kind, "hierarchical")


def _halving(
    levels: Sequence[Level], members: Sequence[int], ranks: int, nbytes: float, kind: Kind
) -> Cost:
    return _staged(levels, members, nbytes, kind, "halving")


def _staged(
    levels: Sequence[Level], members: Sequence[int], nbytes: float, kind: Kind, name: str
) -> Cost:
    used = _used(levels, members)
    once = [Stage((i,), _one_way(level, m, nbytes, name)) for i, level, m in used]
    if kind == "reduce-scatter":
        return Cost(tuple(once), name)
    if kind == "allgather":
        return Cost(tuple(reversed(once)), name)
    outermost = once[-1]
    both = Stage(outermost.levels, 2 * outermost.seconds)
    return Cost((*once[:-1], both, *reversed(once[:-1])), name)


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


_ALGORITHMS = {"ring": _ring, "tree": _tree, "hierarchical": _hierarchical, "halving": _halving}
