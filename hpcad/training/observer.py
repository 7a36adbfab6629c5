"""Who watches the steps of a training run from outside, such as a scaling study."""

from __future__ import annotations

from typing import Protocol, SupportsFloat

from hpcad.data import Batch
from hpcad.training.phases import PhaseTimer


class StepObserver(Protocol):
    """Is told of every step by the loop of a :class:`~hpcad.training.Trainer`, on every rank.

    All ranks call both methods at the same steps, so they may communicate.
    """

    def before_step(self, phases: PhaseTimer) -> None:
        """Called before the batch of a step is asked for."""

    def after_step(self, phases: PhaseTimer, batch: Batch, share: SupportsFloat) -> None:
        """Called when all that belongs to the step is done, evaluation and checkpoint included.

        Parameters
        ----------
        share
            This rank's share of the mean loss of the global batch. On a device the step may still
            be under way; its number waits for that.
        """
