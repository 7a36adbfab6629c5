"""Controls: what a step takes less when one of its causes is left out.

Without communication no gradients are reduced; with synthetic data batches lie in memory. What the
median step then lacks is what the cause costs where it is not hidden. The two need not add up to
all that a larger scale costs: causes hide behind each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hpcad.scaling.laws.medians import difference
from hpcad.scaling.report.row import bounds, repetition_medians
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples


def controls(runs: Mapping[Point, list[Samples]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The differences of all points with a control, and the controls that have no partner."""
    found, alone = [], []
    for point, controlled in runs.items():
        if point.control == "none":
            continue
        full = replace(point, control="none")
        if full not in runs:
            alone.append(
                f"{point.name} has nothing to be compared with: there is no good run of {full.name}"
            )
            continue
        whole, part = repetition_medians(runs[full]), repetition_medians(controlled)
        found.append(
            {
                "point": full.name,
                "control": point.control,
                "ranks": point.ranks,
                "batch": point.batch,
                "with": float(np.median(whole)),
                "without": float(np.median(part)),
                "repetitions": [len(whole), len(part)],
                "difference": bounds(difference(whole, part)),
                "share": float(1 - np.median(part) / np.median(whole)),
            }
        )
    return found, alone
