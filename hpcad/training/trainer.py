"""The step loop: data, forward, backward, reduction, optimizer, checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from hpcad.autodiff import Tensor
from hpcad.backend.allocator import keep_large_blocks
from hpcad.checkpoint import Checkpoint, CheckpointStore
from hpcad.data import Batch, Dataset, Loader
from hpcad.errors import ConfigError, HpcadError
from hpcad.nn import Module, training_step
from hpcad.optim import Optimizer
from hpcad.parallel import DataParallel, World, init
from hpcad.training.checks import check_counts, check_loss, require_same
from hpcad.training.evaluation import Evaluate, evaluate
from hpcad.training.metrics import MetricsWriter
from hpcad.training.phases import PhaseTimer
from hpcad.training.prepare import Prepare
from hpcad.training.progress import Progress
from hpcad.training.snapshot import describe, restore, snapshot

Loss = Callable[[Any, Mapping[str, Any]], Tensor]


@dataclass
class Result:
    """How a training run ended.

    Attributes
    ----------
    step, cursor : int
        Optimizer steps and samples (of all ranks) since the start.
    resumed_step : int or None
        The step it was resumed from.
    metrics : dict
        Of the last evaluation, by name.
    checkpoint : Path or None
        The last one.
    phases : str
        The phase table.
    """

    step: int = 0
    cursor: int = 0
    resumed_step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    checkpoint: Path | None = None
    phases: str = ""


class Trainer:
    """Train a model, data-parallel over all ranks of the world.

    Parameters
    ----------
    model : Module
        Its parameters drawn and on the device.
    optimizer : Optimizer
        Of this model.
    train : Dataset
    test : Dataset, optional
        Evaluated every ``evaluate_every`` steps (every epoch when left out) and at the end.
    loss : callable, optional
        ``loss(model, batch)`` returns the mean over the local batch, a scalar tensor;
        ``model.loss(batch)`` when left out. It must not communicate: a rank whose part of the
        last batch is empty does not call it.
    metrics : callable, optional
        ``metrics(model, batch)`` returns sums over the batch, with their ``count``;
        ``model.evaluate(batch)`` when left out.
    batch : int
        Global batch size, over all ranks together.
    epochs, steps : int, optional
        When to stop, whichever comes first; at least one is needed.
    seed : int
        Of the sample order and of random layers.
    prepare : callable, optional
        From the arrays of a batch to those that ``loss`` gets; see :class:`Prepare`.
    directory : path, optional
        For metrics and checkpoints; nothing is written when left out.
    checkpoint_every : int, optional
        Steps between checkpoints; at the end of every epoch when left out.
    keep : int
        Checkpoints to keep.
    saving : bool
        Whether checkpoints are written at all.
    log_every, evaluate_every : int
        In steps.
    world : World, optional
    engine : DataParallel, optional
        Made with its defaults when left out.
    description : dict, optional
        JSON-able; stored in checkpoints (the command line stores the job file).

    Examples
    --------
    >>> trainer = Trainer(model, Adam(model, 1e-3), train, batch=64, epochs=5)  # doctest: +SKIP
    >>> trainer.run().metrics  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        train: Dataset,
        *,
        test: Dataset | None = None,
        loss: Loss | None = None,
        metrics: Evaluate | None = None,
        batch: int = 64,
        epochs: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        prefetch: int = 2,
        prepare: Callable[[dict[str, np.ndarray]], dict[str, Any]] | None = None,
        directory: str | Path | None = None,
        checkpoint_every: int | None = None,
        keep: int = 2,
        saving: bool = True,
        log_every: int = 50,
        evaluate_every: int | None = None,
        world: World | None = None,
        engine: DataParallel | None = None,
        description: dict[str, Any] | None = None,
    ) -> None:
        if epochs is None and steps is None:
            raise ConfigError("a Trainer needs epochs= or steps=, or it would never stop")
        check_counts(
            batch=batch,
            epochs=epochs,
            steps=steps,
            checkpoint_every=checkpoint_every,
            log_every=log_every,
            evaluate_every=evaluate_every,
        )
        if optimizer.model is not model:
            raise ConfigError("the optimizer was made for another model than the trainer's")
        _require_method(model, "loss", loss)
        _require_method(model, "evaluate", metrics if test is not None else _own_metrics)
        self.world = world or init()
        self.model, self.optimizer = model, optimizer
        self.train, self.test = train, test
        self.loss: Loss = loss or _own_loss
        self.metrics: Evaluate = metrics or _own_metrics
        self.batch, self.epochs, self.steps = batch, epochs, steps
        self.seed, self.shuffle, self.prefetch = seed, shuffle, prefetch
        self.prepare = prepare or Prepare()
        self.directory = Path(directory) if directory is not None else None
        self.checkpoint_every, self.log_every = checkpoint_every, log_every
        self.evaluate_every = evaluate_every
        self.engine = engine or DataParallel(model, self.world)
        self.description = description or {}
        self.store, self.saving = self._store(keep), saving
        self.result = Result()
        self._saved_step: int | None = None
        self._losses: list[float] = []  # this rank's shares of the losses since the last report

    def run(self, resume: bool | str | Path = True) -> Result:
        """Train to the end.

        Parameters
        ----------
        resume : bool or path
            Continue from the newest checkpoint in the directory if there is one (True), from
            the given one, or not at all (False).

        Raises
        ------
        CheckpointError
            The checkpoint does not fit, or none can be written.
        DataError
            The data cannot be read, or the batch is smaller than the world.
        HpcadError
            The loss is no longer a number.
        """
        keep_large_blocks()
        require_same(self.world, self._settings())
        self._resume(resume)
        loader = self._loader()  # before anything is written: it checks batch against world
        phases = PhaseTimer()
        writer = self._writer()
        progress = Progress(
            self._last_step(),
            step=self.result.step,
            every=self.log_every,
            enabled=self.world.is_root,
        )
        try:
            with loader, progress:
                self._loop(loader, phases, progress, writer)
                self._finish(phases, progress, writer)
        except SystemExit as leaving:
            # It would pass the hook that ends the other ranks, and leave them waiting.
            raise HpcadError(
                f"rank {self.world.rank} on {self.world.host} left the program with exit code "
                f"{leaving.code} in step {self.result.step}; raise an error there instead"
            ) from leaving
        finally:
            if writer is not None:
                writer.close()
        return self.result

    # -- the loop ----------------------------------------------------------------------------

    def _loop(
        self, loader: Loader, phases: PhaseTimer, progress: Progress, writer: MetricsWriter | None
    ) -> None:
        result = self.result
        while self.steps is None or result.step < self.steps:
            with phases("data wait"):
                batch = next(loader, None)
            if batch is None:
                return
            rate = self.optimizer.learning_rate
            self._step(batch, phases)
            result.step += 1
            result.cursor = batch.cursor
            phases.step()
            due = result.step % self.log_every == 0 or result.step == self._last_step()
            loss = self._reported_loss() if due else None
            progress.update(
                result.step,
                epoch=batch.epoch,
                samples=batch.global_size,
                loss=loss,
                learning_rate=rate,
            )
            if due and writer is not None:
                writer.write(
                    {
                        "step": result.step,
                        "epoch": batch.epoch,
                        "samples": result.cursor,
                        "loss": loss,
                        "learning_rate": rate,
                        "samples_per_second": progress.samples_per_second,
                    }
                )
            before = phases.seconds()
            if self._due(self.evaluate_every, batch):
                self._evaluate(phases, progress, writer)
            if self._due(self.checkpoint_every, batch):
                self._save(phases)
            progress.leave_out(_spent(before, phases.seconds()))

    def _step(self, batch: Batch, phases: PhaseTimer) -> None:
        """One optimizer step on this rank's part of a global batch."""
        if len(batch) == 0:
            with phases("backward"):
                self.engine.skip()
            self._losses.append(0.0)
        else:
            with phases("forward"):
                fields = self.prepare(batch.fields)
                with training_step(self.seed, self.result.step, batch.ids):
                    loss = self.loss(self.model, fields)
                check_loss(loss)
                # The engine averages over ranks; this makes it the mean over the samples.
                weight = len(batch) / batch.global_size
                scaled = loss * (weight * self.world.size)
            with phases("backward"):
                scaled.backward()
            self._losses.append(float(loss) * weight)
        phases.move("backward", "exposed communication", self.engine.exposed_seconds)
        self.engine.exposed_seconds = 0.0
        with phases("optimizer"):
            self.optimizer.step()

    def _reported_loss(self) -> float:
        """Mean loss over the steps since the last report, over the global batches."""
        mine = np.array([math.fsum(self._losses), len(self._losses)])
        self._losses.clear()
        self.world.communicator.allreduce(mine[:1], "sum", "loss")
        loss = float(mine[0] / mine[1])
        self._require_finite(loss)
        return loss

    def _require_finite(self, loss: float) -> None:
        """Stop, on all ranks alike, when the loss or a parameter is no longer a number."""
        arenas = (arena.values.flat for arena in self.engine.arenas)
        fine = math.isfinite(loss) and all(bool(np.isfinite(flat).all()) for flat in arenas)
        worst = np.array([fine], np.int64)
        self.world.communicator.allreduce(worst, "min", "finite")
        if not worst[0]:
            last = self.result.checkpoint
            where = f"continue from {last}" if last else "start again (no checkpoint was saved yet)"
            raise HpcadError(
                f"the loss or a parameter is no longer a number at step {self.result.step}; lower "
                f"the learning rate or clip the gradient ([optimizer] clip_norm), and {where}"
            )

    def _due(self, every: int | None, batch: Batch) -> bool:
        if every is None:
            return batch.last_in_epoch
        return self.result.step % every == 0

    # -- evaluation and checkpoints ----------------------------------------------------------

    def _evaluate(
        self, phases: PhaseTimer, progress: Progress, writer: MetricsWriter | None
    ) -> None:
        if self.test is None:
            return
        with phases("evaluation"):
            found = evaluate(self.model, self.test, self.prepare, self.world, self.metrics)
        self.result.metrics = {"evaluated_step": self.result.step, **found}
        words = "  ".join(f"test {name} {value:.4f}" for name, value in found.items())
        progress.message(f"step {self.result.step}: {words}")
        if writer is not None and self.result.step != self.result.resumed_step:
            row = {f"test_{name}": value for name, value in found.items()}
            writer.write({"step": self.result.step, **row})

    def _save(self, phases: PhaseTimer) -> None:
        if self.store is None or not self.saving:
            return
        self._require_finite(math.fsum(self._losses))
        with phases("checkpoint"):
            state = describe(
                self.optimizer,
                step=self.result.step,
                cursor=self.result.cursor,
                order=self._order(),
                job=self.description,
            )
            arrays = snapshot(self.model, self.optimizer)
            self.result.checkpoint = self.store.save(self.result.step, arrays, state)
            self._saved_step = self.result.step

    def _finish(self, phases: PhaseTimer, progress: Progress, writer: MetricsWriter | None) -> None:
        if self.result.metrics.get("evaluated_step") != self.result.step:
            self._evaluate(phases, progress, writer)
        if self._saved_step != self.result.step:
            self._save(phases)
        phases.stop()
        self.result.phases = phases.table()

    def _resume(self, resume: bool | str | Path) -> None:
        self._saved_step = None
        checkpoint = self._checkpoint(resume)
        if checkpoint is None:
            return
        step, cursor = restore(checkpoint, self.model, self.optimizer, self._order())
        self.result = Result(step, cursor, resumed_step=step, checkpoint=checkpoint.path)
        self._saved_step = step
        if self.world.is_root:
            done = f"epoch {cursor / len(self.train):.2f}"
            print(f"resumed from {checkpoint.path} (step {step}, {done})", flush=True)

    def _checkpoint(self, resume: bool | str | Path) -> Checkpoint | None:
        """The checkpoint to start from, if any."""
        if resume is False:
            return None
        if resume is not True:
            communicator = self.world.communicator
            return CheckpointStore(Path(resume).parent, communicator=communicator).load(resume)
        return self.store.latest() if self.store is not None else None

    def _settings(self) -> dict[str, Any]:
        """What all ranks must have in common."""
        names = ("batch", "epochs", "steps", "checkpoint_every", "log_every", "evaluate_every")
        shapes = {name: [list(p.shape), str(p.dtype)] for name, p in self.model.named_parameters()}
        return {
            **self._order(),
            **{name: getattr(self, name) for name in names},
            "samples": len(self.train),
            "test samples": len(self.test) if self.test is not None else None,
            "directory": str(self.directory) if self.saving else None,
            "model": xxhash.xxh3_64_hexdigest(json.dumps(shapes).encode()),
        }

    def _order(self) -> dict[str, Any]:
        return {"dataset": self.train.hash, "seed": self.seed, "shuffle": self.shuffle}

    # -- making the parts --------------------------------------------------------------------

    def _loader(self) -> Loader:
        return Loader(
            self.train,
            self.batch,
            seed=self.seed,
            shuffle=self.shuffle,
            rank=self.world.rank,
            size=self.world.size,
            cursor=self.result.cursor,
            prefetch=self.prefetch,
            epochs=self.epochs,
        )

    def _writer(self) -> MetricsWriter | None:
        """The metrics files, on rank 0; a failure there is one of all ranks."""
        writer, error = None, None
        if self.directory is not None and self.world.is_root:
            try:
                writer = MetricsWriter(self.directory, resumed_step=self.result.resumed_step)
            except HpcadError as found:
                error = found
        self.world.communicator.agree(error, "metrics")
        return writer

    def _store(self, keep: int) -> CheckpointStore | None:
        if self.directory is None:
            return None
        communicator = self.world.communicator
        return CheckpointStore(self.directory / "checkpoints", keep=keep, communicator=communicator)

    def _last_step(self) -> int:
        """Step at which training ends, from where it stands."""
        last = math.inf if self.steps is None else self.steps
        if self.epochs is not None:
            last = min(last, self.result.step + self._steps_left(self.epochs))
        return int(last)

    def _steps_left(self, epochs: int) -> int:
        """Steps to the end of the last epoch: no batch reaches over the end of an epoch."""
        samples = len(self.train)
        epoch, position = divmod(self.result.cursor, samples)
        if epoch >= epochs:
            return 0
        rest = -(-(samples - position) // self.batch)
        return rest + (epochs - epoch - 1) * -(-samples // self.batch)


def _require_method(model: Any, name: str, given: Any) -> None:
    if given is None and not hasattr(model, name):
        argument = {"loss": "loss", "evaluate": "metrics"}[name]
        raise ConfigError(
            f"{type(model).__name__} has no method {name}(batch); define it, or give the trainer "
            f"{argument}="
        )


def _own_loss(model: Any, batch: Mapping[str, Any]) -> Tensor:
    return model.loss(batch)


def _own_metrics(model: Any, batch: Mapping[str, Any]) -> Mapping[str, float]:
    return model.evaluate(batch)


def _spent(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    names = ("evaluation", "checkpoint")
    return sum(after.get(name, 0.0) - before.get(name, 0.0) for name in names)
