"""One run of a study, on all its ranks: trains as `hpcad train` does, and measures every step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.backend import backend_of
from hpcad.errors import ConfigError, DataError, LaunchError
from hpcad.models.registry import ModelEntry
from hpcad.parallel import World, init
from hpcad.parallel.launcher import detect
from hpcad.parallel.serial import SerialCommunicator
from hpcad.scaling.study.facts import gather_facts
from hpcad.scaling.study.orders import Orders
from hpcad.scaling.study.pinning import pin
from hpcad.scaling.study.samples import Samples, write_samples
from hpcad.scaling.study.step_clock import StepClock
from hpcad.training.job import Job
from hpcad.training.run import make_trainer
from hpcad.training.trainer import Trainer

MEMORY_BATCHES = 4  # that "synthetic data" repeats
_NEVER = 10**9


def run_point(orders: Orders, models: Mapping[str, ModelEntry]) -> None:
    """Run a point once, and write its samples on rank 0; collective.

    Parameters
    ----------
    models
        Kind of a model -> how it is built.

    Raises
    ------
    HpcadError
        It cannot be run as the study says.
    """
    began = datetime.now(UTC).isoformat(timespec="seconds")
    pinned = _pin(orders)
    job = measured_job(orders, models)
    world = init(job.training.device)
    _check_world(world, orders)
    off = orders.point.control == "communication off"
    synthetic = orders.point.control == "synthetic data"
    trainer = make_trainer(
        job,
        models[job.model.kind],
        world,
        reducing=_alone(world) if off else None,
        repeated=MEMORY_BATCHES if synthetic else None,
    )
    try:
        clock = _run(trainer, orders)
    finally:
        if world.is_root:  # the training's own files: metrics of a run that nobody evaluates
            shutil.rmtree(job.output.directory, ignore_errors=True)
    facts = gather_facts(trainer, orders, clock, pinned=pinned, began=began)
    samples = gather_samples(world, orders, clock, facts)
    if samples is not None:
        write_samples(Path(orders.file), samples)
        median = 1e3 * float(np.median(samples.step_seconds))
        print(f"{samples.name}: median step {median:.4g} ms over {samples.point.ranks} ranks")


def measured_job(orders: Orders, models: Mapping[str, ModelEntry]) -> Job:
    """The job of a point: its own, without evaluation, reports and (unless asked for) saves.

    How long its training is stays, since the learning rates depend on it.
    """
    configs = {kind: entry.config for kind, entry in models.items()}
    job = Job.from_dict(orders.job, configs)
    every = orders.checkpoint_every
    return replace(
        job,
        data=replace(job.data, batch=orders.point.batch, test=None),
        training=replace(job.training, log_every=_NEVER, evaluate_every=None),
        checkpoint=replace(job.checkpoint, enabled=every is not None, every=every),
        output=replace(job.output, directory=f"{orders.file}.run"),
    )


def steps_with_ends(steps: int, samples: int, batch: int) -> int:
    """Steps that a training takes until it has taken so many with full batches.

    >>> steps_with_ends(4, samples=10, batch=4)  # 4 4 2, 4 4
    5
    """
    full, rest = divmod(samples, batch)
    return steps + (steps - 1) // full if rest else steps


def gather_samples(
    world: World, orders: Orders, clock: StepClock, facts: dict[str, Any]
) -> Samples | None:
    """Bring the samples of all ranks together on rank 0; None elsewhere. Collective."""
    phases = clock.phases()
    every_name = world.communicator.gather_json(list(phases), "phases")
    names = list(dict.fromkeys(name for own_names in every_name for name in own_names))
    none = np.zeros(len(clock.seconds))
    rows = [clock.seconds, clock.communication, clock.losses]
    own = np.array([*rows, *(phases.get(name, none) for name in names)], np.float64)
    every = np.empty((world.size, *own.shape)) if world.is_root else None
    world.communicator.gather(own, every, 0, "samples")
    if every is None:
        return None
    seconds, communication, losses, *others = (every[:, row] for row in range(len(own)))
    return Samples(
        orders.point,
        orders.repeat,
        seconds,
        dict(zip(names, others, strict=True)),
        communication,
        losses,
        orders.warmup,
        facts,
    )


def _run(trainer: Trainer, orders: Orders) -> StepClock:
    samples, batch = len(trainer.train), orders.point.batch
    if batch > samples:
        raise DataError(
            f"{orders.point.name}: a batch of {batch} is more than the {samples} samples of the "
            "training data, so no step would have it; take a smaller batch, or more data"
        )
    backend = backend_of(trainer.engine.arenas[0].values.flat)
    trainer.epochs = None
    # Batches of memory are always full.
    whole = trainer.repeated is not None
    trainer.steps = orders.steps if whole else steps_with_ends(orders.steps, samples, batch)
    with StepClock(trainer.world, backend, batch, orders.warmup - 1) as clock:
        trainer.observer = clock
        trainer.run(resume=False)
    return clock


def _pin(orders: Orders) -> list[int] | None:
    if not orders.pin:
        return None
    launcher = detect(os.environ)
    local_rank = launcher.local_rank if launcher is not None else 0
    if local_rank is None:
        raise LaunchError(
            f"{launcher.name if launcher else 'the launcher'} does not tell the local rank, so "
            "ranks cannot be pinned to cores; set [launch] pin = false"
        )
    return pin(local_rank, orders.point.ranks, orders.threads)  # all ranks are on this machine


def _check_world(world: World, orders: Orders) -> None:
    if world.size != orders.point.ranks:
        raise LaunchError(
            f"{orders.point.name} needs {orders.point.ranks} ranks, but {world.size} were started; "
            "`hpcad scaling run` starts the right number"
        )
    if world.nodes > 1 and orders.pin:
        raise ConfigError(
            "ranks of several nodes are not pinned by hpcad; let srun do it, with the options of "
            "the site, or set [launch] pin = false"
        )


def _alone(world: World) -> World:
    """A world in which no gradient meets another."""
    return replace(world, size=1, communicator=SerialCommunicator("communication off"))
