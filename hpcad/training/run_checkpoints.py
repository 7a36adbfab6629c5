"""The checkpoints of a training run: what to start from, and saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcad.checkpoint import Checkpoint, CheckpointStore
from hpcad.nn import Module
from hpcad.optim import Optimizer
from hpcad.parallel import World
from hpcad.training.result import Result
from hpcad.training.snapshot import describe, restore, snapshot


class RunCheckpoints:
    """Saves and restores one training run; every method is collective.

    Parameters
    ----------
    directory : Path or None
        Of the run; without one nothing is saved.
    model, optimizer
        What is saved.
    world : World
    order : dict
        What the order of the samples is a function of; a checkpoint of another is refused.
    keep : int
        Checkpoints to keep.
    saving : bool
        Whether to save at all.
    description : dict
        JSON-able; stored in every checkpoint.
    """

    def __init__(
        self,
        directory: Path | None,
        model: Module,
        optimizer: Optimizer,
        world: World,
        order: dict[str, Any],
        *,
        keep: int,
        saving: bool,
        description: dict[str, Any],
    ) -> None:
        self.model, self.optimizer, self.world = model, optimizer, world
        self.order, self.description = order, description
        self.store: CheckpointStore | None = None
        if directory is not None:
            self.store = CheckpointStore(
                directory / "checkpoints", keep=keep, communicator=world.communicator
            )
        self.saving = saving and self.store is not None

    def start(self, resume: bool | str | Path) -> Result:
        """Put back the checkpoint to start from, if there is one, and return where it stands.

        Parameters
        ----------
        resume : bool or path
            The newest one (True), that file, or none (False).
        """
        checkpoint = self._find(resume)
        if checkpoint is None:
            return Result()
        step, cursor = restore(checkpoint, self.model, self.optimizer, self.order)
        return Result(step, cursor, resumed_step=step, saved_step=step, checkpoint=checkpoint.path)

    def save(self, result: Result) -> None:
        """Save the run as it stands."""
        if self.store is None:
            return
        state = describe(
            self.optimizer,
            step=result.step,
            cursor=result.cursor,
            order=self.order,
            job=self.description,
        )
        arrays = snapshot(self.model, self.optimizer)
        result.checkpoint = self.store.save(result.step, arrays, state)
        result.saved_step = result.step

    def _find(self, resume: bool | str | Path) -> Checkpoint | None:
        if resume is False:
            return None
        if resume is not True:
            folder = Path(resume).parent
            return CheckpointStore(folder, communicator=self.world.communicator).load(resume)
        return self.store.latest() if self.store is not None else None
