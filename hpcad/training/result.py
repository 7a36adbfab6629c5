"""How far a training run is, and what it has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

#: Exit code of a run that has saved and stopped because its job soon ends. Of the ranks' codes
#: `srun` returns the highest; 137 and 143 are those of ranks that it killed while they left.
OUT_OF_TIME = 200


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
    out_of_time : bool
        Whether it ended early because the job soon ends.
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
    out_of_time: bool = False
    phases: str = ""
    data: str = ""

    @property
    def stopped(self) -> bool:
        """Whether it has saved and ended early, and may be started again."""
        return bool(self.stop_signal) or self.out_of_time

    @property
    def exit_code(self) -> int:
        """Of the command: 0 when it is done, what shells report for a signal, or `OUT_OF_TIME`."""
        if self.stop_signal:
            return 128 + self.stop_signal
        return OUT_OF_TIME if self.out_of_time else 0
