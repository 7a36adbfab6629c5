"""Laws of time of an allreduce, and of a training step that hides one.

A message of m bytes takes ``alpha + m / B``: a latency and a bandwidth (Hockney 1994, Parallel
Computing 20, 389). The cost of adding numbers up is not told apart from that of sending them, and
is a part of 1 / B.

ring
    Reduce-scatter and allgather in P - 1 steps each, of n / P bytes:
    ``t = 2 (P - 1) (alpha + n / (P B))`` (Patarasuk & Yuan 2009, J. Parallel Distrib. Comput. 69,
    117; doi:10.1016/j.jpdc.2008.09.002).
tree
    A reduction and a broadcast over binomial trees, ceil(log2 P) steps each, of all n bytes:
    ``t = 2 ceil(log2 P) (alpha + n / B)`` (Thakur, Rabenseifner & Gropp 2005, Int. J. High
    Perform. Comput. Appl. 19, 49; doi:10.1177/1094342005051521).
overlap
    Gradients are summed in a ring while the backward pass still runs (Li et al. 2020, Proc. VLDB
    13, 3005; doi:10.14778/3415478.3415530). Of the computation c = w N / P of each rank, the share
    ``hidden`` can run beside the allreduce, and what takes longer shows:
    ``t = c + max(0, ring(P, n) - hidden c)``. In weak scaling c is a constant, in strong scaling
    it shrinks, and so does what it hides.
"""

from __future__ import annotations

import numpy as np

from hpcad.scaling.laws.models import Model, Parameter, scale
from hpcad.scaling.laws.points import Array, Conditions


def _ring(at: Conditions, alpha: Array, bandwidth: Array) -> Array:
    return 2 * (at.ranks - 1) * (alpha + at.message_bytes / (at.ranks * bandwidth))


def _tree(at: Conditions, alpha: Array, bandwidth: Array) -> Array:
    return 2 * np.ceil(np.log2(at.ranks)) * (alpha + at.message_bytes / bandwidth)


def _overlap(at: Conditions, work: Array, alpha: Array, bandwidth: Array, hidden: Array) -> Array:
    compute = work * at.size / at.ranks
    shown = _ring(at, alpha, bandwidth) - hidden * compute
    return compute + np.where(shown.real > 0, shown, 0.0)


_ALPHA = scale("alpha", "s", (1.0,))
_BANDWIDTH = scale("bandwidth", "B/s", (1e-3, 0.1, 10.0, 1e3), power=-1, per="bytes")

RING = Model(
    "ring",
    "t = 2 (P - 1) (alpha + n / (P B))",
    (_ALPHA, _BANDWIDTH),
    _ring,
    fewest_ranks=2,
    needs_bytes=True,
)

TREE = Model(
    "tree",
    "t = 2 ceil(log2 P) (alpha + n / B)",
    (_ALPHA, _BANDWIDTH),
    _tree,
    fewest_ranks=2,
    needs_bytes=True,
)

OVERLAP = Model(
    "overlap",
    "t = c + max(0, 2 (P - 1) (alpha + n / (P B)) - hidden c), c = w N / P",
    (
        scale("work", "s", (1.0,), per="size"),
        scale("alpha", "s", (1e-5, 1e-3)),
        scale("bandwidth", "B/s", (1.0, 10.0, 100.0), power=-1, per="bytes"),
        Parameter("hidden", "", 0.0, 1.0, (0.05, 0.5, 0.9)),
    ),
    _overlap,
    needs_bytes=True,
)
