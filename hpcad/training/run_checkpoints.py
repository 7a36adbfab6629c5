"""The checkpoints of a training run: what to start from, and saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcad.checkpoint import Checkpoint, CheckpointStore, Saved
from hpcad.nn import Module
from hpcad.optim import Optimizer
from hpcad.parallel import World
from hpcad.training.result import Result
from hpcad.training.snapshot import changed_by_updates, describe, restore, state_arrays


class RunCheckpoints:
    """Saves and restores one training run; every method but `reclaim` is collective.

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
    asynchronous : bool
        Whether the training goes on while a checkpoint is written.
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
        asynchronous: bool,
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
        self.asynchronous = asynchronous
        self.pending = False  # whether a save may be under way

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

    def save(self, result: Result, *, last: bool = False) -> None:
        """Save the run as it stands.

        Parameters
        ----------
        result : Result
            Names the checkpoint when it is on the disk.
        last : bool
            Return only then, also where saves are asynchronous.

        Raises
        ------
        CheckpointError
            This save or the one before it failed, or a parameter is no longer finite.
        """
        if self.store is None:
            return
        state = describe(
            self.optimizer,
            step=result.step,
            cursor=result.cursor,
            order=self.order,
            job=self.description,
        )
        arrays = state_arrays(self.model, self.optimizer)
        self.pending = True
        self.store.save(
            result.step,
            arrays,
            state,
            wait=last or not self.asynchronous,
            lent=changed_by_updates(self.model, self.optimizer),
            finite=[name for name in arrays if name.startswith("parameters/")],
        )
        result.saved_step = result.step

    def reclaim(self) -> None:
        """Return when parameters and optimizer state may be changed."""
        if self.pending and self.store is not None:
            self.store.reclaim()

    def poll(self, result: Result) -> Saved | None:
        """Bring a save that is under way forward; return it when it has ended."""
        if not self.pending or self.store is None:
            return None
        return self._note(self.store.poll(), result)

    def drain(self, result: Result) -> Saved | None:
        """Finish the save that is under way, and return it."""
        if not self.pending or self.store is None:
            return None
        return self._note(self.store.drain(), result)

    def _note(self, saved: Saved | None, result: Result) -> Saved | None:
        if saved is not None:
            result.checkpoint = saved.path
            self.pending = saved.step != result.saved_step
        return saved

    def _find(self, resume: bool | str | Path) -> Checkpoint | None:
        if resume is False:
            return None
        if resume is not True:
            folder = Path(resume).parent
            return CheckpointStore(folder, communicator=self.world.communicator).load(resume)
        return self.store.latest() if self.store is not None else None
