"""Predictions as a table, as JSON, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpcad.errors import ConfigError
from hpcad.scaling.simulation.machine import Machine
from hpcad.scaling.simulation.prediction import Prediction, Request
from hpcad.scaling.simulation.workload import Workload

_COLUMNS = (
    "ranks", "nodes", "batch", "step ms", "p95 ms", "samples/s", "efficiency", "compute",
    "exposed", "hidden", "imbalance", "data", "ckpt %", "fail %", "most of it",
)  # fmt: skip


def table(workload: Workload, machine: Machine, found: Sequence[Prediction]) -> str:
    """Predictions, one line each; times in milliseconds, checkpoints and failures in per cent."""
    rows = [_COLUMNS, *(_row(each) for each in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = [
        f"{workload.name}: {workload.parameters:,} parameters, gradients of "
        f"{workload.gradient_bytes / 1e6:,.2f} MB",
        *(f"  {note}" for note in workload.notes),
        f"on {machine.title} ({machine.origin})",
        "",
        *("  ".join(text.rjust(w) for text, w in zip(row, widths, strict=True)) for row in rows),
        "",
        "predicted, not measured. compute + exposed + imbalance + data = step; what is hidden",
        "runs beside it; checkpoints and failures come on top, as shares of the step.",
    ]
    return "\n".join(lines)


def _row(p: Prediction) -> tuple[str, ...]:
    def ms(seconds: float) -> str:
        return f"{1e3 * seconds:,.3f}"

    def percent(seconds: float) -> str:
        share = seconds / p.step
        return "no progress" if share == math.inf else f"{100 * share:.2f}"

    return (
        f"{p.ranks:,}", f"{p.nodes:,}", f"{p.samples:g}", ms(p.step), ms(p.step_p95),
        f"{p.rate:,.1f}", f"{100 * p.efficiency:.1f} %", ms(p.compute), ms(p.exposed), ms(p.hidden),
        ms(p.imbalance), ms(p.data_wait), percent(p.checkpoints), percent(p.failures), p.dominant,
    )  # fmt: skip


def as_json(
    workload: Workload, machine: Machine, request: Request, found: Sequence[Prediction]
) -> dict[str, Any]:
    """Everything that the table says, and what was asked."""
    return {
        "workload": {
            "name": workload.name,
            "parameters": workload.parameters,
            "gradient_bytes": workload.gradient_bytes,
            "reduction": workload.reduction,
            "notes": list(workload.notes),
        },
        "machine": {
            "title": machine.title,
            "measured": machine.measured,
            "documentation": list(machine.documentation),
        },
        "sweep": request.sweep,
        "seed": request.seed,
        "predictions": [each.to_dict() for each in found],
    }


def draw(path: Path, workload: Workload, machine: Machine, found: Sequence[Prediction]) -> None:
    """Draw efficiency, and what a step consists of, against ranks.

    Raises
    ------
    ConfigError
        matplotlib is not there, or cannot write such a file.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "--plot needs matplotlib; install it with: pip install 'hpcad[plots]'"
        ) from None
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    ranks = [p.ranks for p in found]
    left.plot(ranks, [100 * p.efficiency for p in found], marker="o")
    left.set(xscale="log", xlabel="ranks", ylabel="efficiency (%)", ylim=(0, 105))
    parts = {
        "compute": [1e3 * p.compute for p in found],
        "exposed communication": [1e3 * p.exposed for p in found],
        "imbalance": [1e3 * p.imbalance for p in found],
        "data wait": [1e3 * p.data_wait for p in found],
    }
    right.stackplot(ranks, *parts.values(), labels=list(parts))
    right.set(xscale="log", xlabel="ranks", ylabel="step (ms)")
    right.legend(fontsize="small")
    figure.suptitle(f"{workload.name} on {machine.title}: predicted, not measured", fontsize=10)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {path}: {error}") from error
