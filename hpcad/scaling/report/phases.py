"""Where the time of a step went, in rows that sum to it.

A step takes what its slowest rank takes. Each rank's step is split into its phases, "other" (what
no phase covers) and "imbalance" (what the slowest rank took longer). The rows are means over ranks
and steps; as every rank's parts sum to the step, so do they, unless phases count time twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.study.samples import Samples

EXPOSED = "exposed communication"
TOLERANCE = 0.02


def breakdown(name: str, runs: Sequence[Samples]) -> dict[str, Any]:
    """The rows of a point.

    Parameters
    ----------
    name : str
        Of the point.
    runs : sequence of Samples

    Returns
    -------
    dict
        ``rows`` (seconds by phase), their ``sum``, the mean ``step``, and the ``error`` of the sum
        as a share of the step.

    Raises
    ------
    DataError
        The rows miss the step by more than 2 %: phases overlap, or were charged twice.
    """
    totals: dict[str, float] = {}
    step = 0.0
    count = 0
    for run in runs:
        seconds = run.seconds[:, run.timed]
        slowest = seconds.max(axis=0)
        parts = {phase: array[:, run.timed] for phase, array in run.phases.items()}
        named = sum(parts.values(), np.zeros_like(seconds))
        # Not below zero: what is charged twice must show in the sum, not vanish in "other".
        parts["other"] = parts.pop("other", 0.0) + np.maximum(seconds - named, 0.0)
        parts["imbalance"] = slowest - seconds
        for phase, part in parts.items():
            totals[phase] = totals.get(phase, 0.0) + float(part.mean(axis=0).sum())
        step += float(slowest.sum())
        count += len(slowest)
    rows = {phase: totals[phase] / count for phase in _ordered(totals)}
    step /= count
    error = sum(rows.values()) / step - 1
    if abs(error) > TOLERANCE:
        told = ", ".join(f"{phase} {1e3 * value:.4g} ms" for phase, value in rows.items())
        raise DataError(
            f"the phases of {name} sum to {100 * (1 + error):.1f} % of its step of "
            f"{1e3 * step:.4g} ms, expected 98 to 102 % ({told}); some time was charged to two "
            "phases: correct what measures them, and run the point again"
        )
    return {"rows": rows, "sum": sum(rows.values()), "step": step, "error": error}


def _ordered(names: dict[str, float]) -> list[str]:
    """Phases as they came, then what is left."""
    last = ("other", "imbalance")
    return [name for name in names if name not in last] + list(last)
