"""What a run tells while it runs: progress on the screen, rows in the metrics files."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import SupportsFloat

import numpy as np

from hpcad.errors import HpcadError
from hpcad.parallel import World
from hpcad.training.metrics import MetricsWriter
from hpcad.training.progress import Progress
from hpcad.training.result import Result


class Report:
    """Progress and metrics of one run, on rank 0; made by all ranks together.

    Parameters
    ----------
    result : Result
        Of the run, kept up to date by its owner.
    last_step : int
        The step at which the run ends.
    every : int
        Steps between reports.
    directory : Path or None
        For the metrics files.
    """

    def __init__(
        self, world: World, result: Result, last_step: int, every: int, directory: Path | None
    ) -> None:
        self.world, self.result = world, result
        self.last_step, self.every = last_step, every
        # This rank's shares of the losses since the last report.
        self.shares: list[SupportsFloat] = []
        self.writer = self._open(directory)
        self.progress = Progress(last_step, step=result.step, every=every, enabled=world.is_root)

    @property
    def due(self) -> bool:
        """Whether the loss of this step is to be reported."""
        return self.result.step % self.every == 0 or self.result.step == self.last_step

    def mean_loss(self) -> float:
        """Mean loss over the steps since the last report, over the global batches; collective."""
        total = np.array([math.fsum(self.shares)])
        steps = len(self.shares)
        self.shares.clear()
        self.world.communicator.allreduce(total, "sum", "loss")
        return float(total[0] / steps)

    def step(self, epoch: int, samples: int, rate: float, loss: float | None) -> None:
        """Tell that a step is done; ``loss`` is given when it is due."""
        step = self.result.step
        self.progress.update(step, epoch=epoch, samples=samples, loss=loss, learning_rate=rate)
        if loss is not None and self.writer is not None:
            self.writer.write(
                {
                    "step": step,
                    "epoch": epoch,
                    "samples": self.result.cursor,
                    "loss": loss,
                    "learning_rate": rate,
                    "samples_per_second": self.progress.samples_per_second,
                }
            )

    def evaluation(self) -> None:
        """Tell the metrics of the evaluation that was just made."""
        step, found = self.result.step, self.result.metrics
        words = "  ".join(f"test {name} {value:.4f}" for name, value in found.items())
        self.progress.message(f"step {step}: {words}")
        # A finished run that is started again evaluates again, but its row is there already.
        if self.writer is not None and step != self.result.resumed_step:
            row = {f"test_{name}": value for name, value in found.items()}
            self.writer.write({"step": step, **row})

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.close()
        if self.writer is not None:
            self.writer.close()

    def _open(self, directory: Path | None) -> MetricsWriter | None:
        """The metrics files, on rank 0; a failure there is one of all ranks."""
        writer, error = None, None
        if directory is not None and self.world.is_root:
            try:
                writer = MetricsWriter(directory, resumed_step=self.result.resumed_step)
            except HpcadError as found:
                error = found
        self.world.communicator.agree(error, "metrics")
        return writer
