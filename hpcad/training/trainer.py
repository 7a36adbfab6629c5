"""The step loop: data, forward, backward, reduction, optimizer, checkpoint."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
import xxhash

from hpcad.autodiff import Tensor
from hpcad.backend.allocator import keep_large_blocks
from hpcad.checkpoint import Saved
from hpcad.data import Batch, BlockShuffle, Dataset, Loader
from hpcad.data.loading.repeated import RepeatedBatches
from hpcad.errors import CheckpointError, ConfigError, HpcadError
from hpcad.nn import Module
from hpcad.optim import Optimizer
from hpcad.parallel import DataParallel, World, init
from hpcad.parallel.timeline import Timeline
from hpcad.training.checks import (
    check_counts,
    require_finite,
    require_method,
    require_same,
    require_scale,
)
from hpcad.training.evaluation import BATCH, Evaluate, Evaluation
from hpcad.training.limits import Deadline, Limits, end_of_job
from hpcad.training.observer import StepObserver
from hpcad.training.phases import PhaseTimer
from hpcad.training.prepare import Prepare
from hpcad.training.report import Report
from hpcad.training.result import Result
from hpcad.training.run_checkpoints import RunCheckpoints
from hpcad.training.starts import StartRecord
from hpcad.training.step import Loss, TrainingProgram
from hpcad.training.stop import Stop

Batches = Loader | RepeatedBatches


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
        ``model.evaluate(batch)`` when left out. As ``loss``, it is called a few times only where
        it runs as a program.
    batch : int
        Global batch size, over all ranks together.
    accumulate : int
        Cut the batch of a rank in so many parts, whose gradients are added up and reduced once:
        values of one part at a time are kept. Layers that look at the batch as a whole (batch
        normalisation) see one part.
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
    asynchronous : bool
        Go on training while a checkpoint is written. Then nothing but the optimizer may change
        parameters between a step and the next update.
    log_every, evaluate_every : int
        In steps.
    evaluate_batch : int
        Samples that a rank evaluates at a time; bounds the memory of that.
    world : World, optional
    engine : DataParallel, optional
        Made with its defaults when left out.
    compile : bool
        Run the steps as a program (:func:`hpcad.compile`). ``loss`` is then called in the first
        two steps only, so it must not count, print or keep anything, and numbers that it takes
        from outside must not change later (attributes of modules may). Where it looks at values,
        or the first two steps differ, one line says so, and every step runs eagerly.
    description : dict, optional
        JSON-able; stored in checkpoints (the command line stores the job file).
    timeline : Timeline, optional
        Gets the phases of every step.
    observer : StepObserver, optional
        Is told of every step.
    repeated : int, optional
        Train on the first so many batches again and again, from memory: to measure what is left
        of a step without reading.
    limits : Limits, optional
        When the job ends, and how often the run may start in vain; from the environment when left
        out. Heeded where checkpoints are saved.

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
        accumulate: int = 1,
        epochs: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        shuffle: bool | BlockShuffle = True,
        prefetch: int = 8,
        prepare: Callable[[dict[str, np.ndarray]], dict[str, Any]] | None = None,
        directory: str | Path | None = None,
        checkpoint_every: int | None = None,
        keep: int = 2,
        saving: bool = True,
        asynchronous: bool = True,
        log_every: int = 50,
        evaluate_every: int | None = None,
        evaluate_batch: int = BATCH,
        world: World | None = None,
        engine: DataParallel | None = None,
        compile: bool = True,
        description: dict[str, Any] | None = None,
        timeline: Timeline | None = None,
        observer: StepObserver | None = None,
        repeated: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        if epochs is None and steps is None:
            raise ConfigError("a Trainer needs epochs= or steps=, or it would never stop")
        check_counts(
            batch=batch,
            accumulate=accumulate,
            epochs=epochs,
            steps=steps,
            checkpoint_every=checkpoint_every,
            log_every=log_every,
            evaluate_every=evaluate_every,
            evaluate_batch=evaluate_batch,
        )
        if optimizer.model is not model:
            raise ConfigError("the optimizer was made for another model than the trainer's")
        require_method(model, "loss", loss)
        require_method(model, "evaluate", metrics if test is not None else _own_metrics)
        self.world = world or init()
        self.model, self.optimizer = model, optimizer
        self.train, self.test = train, test
        self.loss: Loss = loss or _own_loss
        self.metrics: Evaluate = metrics or _own_metrics
        self.batch, self.epochs, self.steps = batch, epochs, steps
        self.accumulate = accumulate
        self.seed, self.shuffle, self.prefetch = seed, shuffle, prefetch
        self.prepare = prepare or Prepare()
        self.directory = Path(directory) if directory is not None else None
        self.checkpoint_every, self.log_every = checkpoint_every, log_every
        self.evaluate_every, self.evaluate_batch = evaluate_every, evaluate_batch
        self.engine = engine or DataParallel(model, self.world)
        self.compile, self.timeline, self.observer = compile, timeline, observer
        self.repeated = repeated
        self.limits = limits or Limits(end_of_job(os.environ, time.time()))
        self.deadline = Deadline(self.limits)
        self.checkpoints = RunCheckpoints(
            self.directory,
            model,
            optimizer,
            self.world,
            self._order(),
            keep=keep,
            saving=saving,
            asynchronous=asynchronous,
            description=description or {},
        )
        self.result = Result()

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
        NoProgressError
            It was started too often without a later checkpoint.
        HpcadError
            The loss is no longer a number.
        """
        keep_large_blocks()
        require_same(self.world, self._settings())
        self.result = self.checkpoints.start(resume)
        loader = self._loader()  # before anything is written: it checks batch against world
        record = self._start_record(chosen=resume is not True)
        phases = self._phase_timer()
        self._program = self._training_program(phases)
        self._evaluation = self._made_evaluation()
        try:
            with loader, record, self._report() as report, self._stop() as stop:
                self._loop(loader, phases, report, stop)
                self._finish(loader, phases, report)
        except SystemExit as leaving:
            # It would pass the hook that ends the other ranks, and leave them waiting.
            raise HpcadError(
                f"rank {self.world.rank} on {self.world.host} left the program with exit code "
                f"{leaving.code} in step {self.result.step}; raise an error there instead"
            ) from leaving
        return self.result

    # -- the loop ----------------------------------------------------------------------------

    def _loop(self, loader: Batches, phases: PhaseTimer, report: Report, stop: Stop) -> None:
        result = self.result
        while self.steps is None or result.step < self.steps:
            if self.observer is not None:
                self.observer.before_step(phases)
            with phases("data wait"):
                batch = next(loader, None)
            if batch is None:
                return
            rate = self.optimizer.learning_rate
            share = self._step(batch, phases)
            report.shares.append(share)
            result.step += 1
            result.cursor = batch.cursor
            phases.step()
            loss = None
            if report.due:
                loss = report.mean_loss()
                self._require_finite(loss)
                require_scale(self.optimizer.loss_scale, result)
            report.step(batch.epoch, batch.global_size, rate, loss)
            before = phases.seconds()
            self._poll(phases, report)
            if stop.after_step():
                result.stop_signal, result.out_of_time = stop.signal, stop.out_of_time
                return
            if self._due(self.evaluate_every, batch):
                self._evaluate(phases, report)
            if self._due(self.checkpoint_every, batch):
                self._save(phases, report)
            report.progress.leave_out(_spent(before, phases.seconds()))
            if self.observer is not None:
                self.observer.after_step(phases, batch, share)

    def _step(self, batch: Batch, _phases: PhaseTimer) -> SupportsFloat:
        """One optimizer step; returns this rank's share of the mean loss of the global batch."""
        return self._program(batch, self.result.step)

    def _due(self, every: int | None, batch: Batch) -> bool:
        if every is None:
            return batch.last_in_epoch
        return self.result.step % every == 0

    def _evaluate(self, phases: PhaseTimer, report: Report) -> None:
        if self.test is None:
            return
        with phases("evaluation"):
            found = self._evaluation(self.test)
        self.result.metrics, self.result.evaluated_step = found, self.result.step
        report.evaluation()

    def _save(self, phases: PhaseTimer, report: Report, *, last: bool = False) -> None:
        if not self.checkpoints.saving:
            return
        # Of the parameters the copy is examined, in the background.
        self._require_finite(math.fsum(report.shares), parameters=False)
        with phases("checkpoint"), self._explained():
            self.checkpoints.save(self.result, last=last)
        self._poll(phases, report)

    def _poll(self, phases: PhaseTimer, report: Report) -> None:
        """Bring the save that is under way forward, and tell what it took."""
        if not self.checkpoints.pending:
            return
        with phases("checkpoint"), self._explained():
            saved = self.checkpoints.poll(self.result)
        self._tell(saved, report)

    def _tell(self, saved: Saved | None, report: Report) -> None:
        if saved is not None:
            self.deadline.note_save(saved.seconds)
            report.progress.message(f"step {saved.step}: {saved}")

    def _finish(self, loader: Batches, phases: PhaseTimer, report: Report) -> None:
        if self.result.evaluated_step != self.result.step and not self.result.stopped:
            self._evaluate(phases, report)
        if self.result.saved_step != self.result.step:
            self._save(phases, report, last=True)
        with phases("checkpoint"), self._explained():
            saved = self.checkpoints.drain(self.result)
        self._tell(saved, report)
        phases.stop()
        self.result.phases = phases.table()
        if phases.steps:
            compute = _computing(phases.seconds())
            self.result.data = loader.stall.summary(self.world.communicator, compute)

    def _require_finite(self, loss: float, *, parameters: bool = True) -> None:
        arenas = [arena.values.flat for arena in self.engine.arenas] if parameters else []
        try:
            require_finite(self.world, loss, arenas, self.result)
        except HpcadError:
            with contextlib.suppress(CheckpointError):
                self.checkpoints.drain(self.result)  # all ranks are here
            require_finite(self.world, loss, arenas, self.result)  # names the last checkpoint

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Where a save failed because training diverged, say that; all ranks come here."""
        try:
            yield
        except CheckpointError:
            self._require_finite(0.0)
            raise

    # -- its parts ---------------------------------------------------------------------------

    def _phase_timer(self) -> PhaseTimer:
        timeline = self.timeline
        if timeline is None:
            return PhaseTimer()

        def watch(name: str, began: float, ended: float) -> None:
            timeline.phase(name, began, ended, self.result.step)

        return PhaseTimer(watch=watch)

    def _stop(self) -> Stop:
        """Heed signals and time where a checkpoint can be saved before the end."""
        return Stop(self.world, self.deadline, heeded=self.checkpoints.saving)

    def _start_record(self, *, chosen: bool) -> StartRecord:
        settings = json.dumps([self._settings(), self.checkpoints.description], sort_keys=True)
        return StartRecord(
            self.world,
            self.directory if self.checkpoints.saving else None,
            self.result,
            settings=xxhash.xxh3_64_hexdigest(settings.encode()),
            tries=self.limits.most_starts(os.environ),
            chosen=chosen,
        )

    def _training_program(self, phases: PhaseTimer) -> TrainingProgram:
        return TrainingProgram(
            self.model,
            self.loss,
            self.optimizer,
            self.engine,
            prepare=self.prepare,
            full=min(self.batch, len(self.train)),
            seed=self.seed,
            phases=phases,
            compile=self.compile,
            before_update=self.checkpoints.reclaim,
            directory=self.directory,
            accumulate=self.accumulate,
        )

    def _made_evaluation(self) -> Evaluation:
        return Evaluation(
            self.model,
            self.metrics,
            self.prepare,
            self.world,
            batch=self.evaluate_batch,
            compile=self.compile,
        )

    def _order(self) -> dict[str, Any]:
        """What the order of the samples is a function of."""
        shuffle = str(self.shuffle) if isinstance(self.shuffle, BlockShuffle) else self.shuffle
        return {"dataset": self.train.hash, "seed": self.seed, "shuffle": shuffle}

    def _settings(self) -> dict[str, Any]:
        """What all ranks must have in common."""
        names = ("batch", "accumulate", "epochs", "steps", "checkpoint_every", "log_every",
                 "evaluate_every")  # fmt: skip
        shapes = {name: [list(p.shape), str(p.dtype)] for name, p in self.model.named_parameters()}
        return {
            **self._order(),
            **{name: getattr(self, name) for name in names},
            "samples": len(self.train),
            "whether losses are scaled": self.optimizer.loss_scale is not None,
            "test samples": len(self.test) if self.test is not None else None,
            "directory": str(self.directory) if self.checkpoints.saving else None,
            "model": xxhash.xxh3_64_hexdigest(json.dumps(shapes).encode()),
        }

    def _loader(self) -> Batches:
        loader = Loader(
            self.train,
            self.batch,
            seed=self.seed,
            shuffle=self.shuffle,
            rank=self.world.rank,
            size=self.world.size,
            cursor=self.result.cursor,
            prefetch=self.prefetch,
            epochs=self.epochs,
            backend=getattr(self.prepare, "backend", None),
        )
        return loader if self.repeated is None else RepeatedBatches(loader, self.repeated)

    def _report(self) -> Report:
        result = self.result
        if result.checkpoint is not None and self.world.is_root:
            done = f"epoch {result.cursor / len(self.train):.2f}"
            print(f"resumed from {result.checkpoint} (step {result.step}, {done})", flush=True)
        return Report(self.world, result, self._last_step(), self.log_every, self.directory)

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


def _own_loss(model: Any, batch: Mapping[str, Any]) -> Tensor:
    return model.loss(batch)


def _own_metrics(model: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
    return model.evaluate(batch)


def _spent(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    names = ("evaluation", "checkpoint")
    return sum(after.get(name, 0.0) - before.get(name, 0.0) for name in names)


def _computing(seconds: Mapping[str, float]) -> float:
    """Seconds of the steps themselves."""
    others = ("data wait", "compilation", "evaluation", "checkpoint")
    return sum(spent for name, spent in seconds.items() if name not in others)
