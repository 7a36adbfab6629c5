"""How far a training run is, and what it has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Result:
    """Where a training run stands; what :meth:`Trainer.run` returns.

    Attributes
    ----------
    step, cursor : int
        Optimizer steps and samples (of all ranks) since the start.
    resumed_step : int or None
        The step it was resumed from.
    metrics : dict
        Of the last evaluation, by name.
    evaluated_step, saved_step : int or None
        The steps of the last evaluation and of the last checkpoint.
    checkpoint : Path or None
        The last one.
    stop_signal : int
        Number of the signal that ended the run early, or 0.
    phases : str
        The phase table.
    data : str
        How long the ranks waited for data, and how fast these came; empty without a step.
    """

    step: int = 0
    cursor: int = 0
    resumed_step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    evaluated_step: int | None = None
    saved_step: int | None = None
    checkpoint: Path | None = None
    stop_signal: int = 0
    phases: str = ""
    data: str = ""
