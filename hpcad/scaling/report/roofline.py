"""The roofline: how far the two roofs allow to go, and how far a step came.

A step of F operations that moves Q bytes takes at least ``max(F / peak, Q / bandwidth)``, so with
the intensity I = F / Q its rate is at most ``min(peak, I bandwidth)`` (Williams, Waterman &
Patterson 2009, CACM 52(4), 65; doi:10.1145/1498765.1498785). Both roofs were measured by the ranks
of the run themselves: a GEMM and a triad.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcad.scaling.study.samples import Samples

COUNTED = (
    "bytes of a step are at least: on every rank, each weight read once and written once, and its "
    "gradient written once; activations are not counted, so the true intensity is lower"
)


def roofline(point: dict[str, Any], runs: Sequence[Samples]) -> dict[str, Any] | None:
    """A point's place under the roofs, per rank; None where a figure of it is not known.

    Parameters
    ----------
    point : dict
        The row of the point.
    runs : sequence of Samples
    """
    facts = runs[0].facts
    known = [facts[name] for name in ("flops", "peak_flops", "memory_bandwidth", "gradient_bytes")]
    if not all(known) or point["flops_per_second"] is None:
        return None
    flops, peak, bandwidth, gradient = map(float, known)
    moved = 3 * gradient
    intensity = flops / point["ranks"] / moved
    return {
        "name": point["name"],
        "ranks": point["ranks"],
        "oversubscribed": point["oversubscribed"],
        "flops_per_second": point["flops_per_second"] / point["ranks"],
        "bytes": moved,
        "intensity": intensity,
        "peak_flops": peak,
        "memory_bandwidth": bandwidth,
        "bound": min(peak, intensity * bandwidth),
    }
