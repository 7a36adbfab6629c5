"""From a job file to a finished training run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.backend import get_backend
from hpcad.backend.cublaslt import allow_tf32
from hpcad.data import BlockOrder, BlockShuffle, Dataset, open_dataset
from hpcad.errors import ConfigError
from hpcad.nn import Module, Precision, undrawn
from hpcad.optim import (
    SGD,
    Adam,
    AdamW,
    Constant,
    LossScale,
    Optimizer,
    RMSProp,
    Schedule,
    WarmupCosine,
    WarmupLinear,
)
from hpcad.parallel import DataParallel, World
from hpcad.parallel.gradients.overlap import Overlap
from hpcad.parallel.timeline import Timeline
from hpcad.training.job import Job
from hpcad.training.job_sections import DataSection
from hpcad.training.limits import Limits, end_of_job
from hpcad.training.local_data import local_copy
from hpcad.training.observer import StepObserver
from hpcad.training.prepare import Prepare
from hpcad.training.result import Result
from hpcad.training.trainer import Trainer


def run(
    job: Job,
    entry: Any,
    world: World,
    resume: bool | str | Path = True,
    timeline: str | Path | None = None,
    end: float | None = None,
) -> Result:
    """Run a job; collective.

    Parameters
    ----------
    job : Job
    entry : ModelEntry
        How the job's model is built.
    world : World
    resume : bool or path
        See :meth:`Trainer.run`.
    timeline : path, optional
        Directory for a :class:`~hpcad.parallel.timeline.Timeline`.
    end : float, optional
        When to be over, in seconds since 1970; when left out as the environment says.
    """
    limits = make_limits(job, end)
    if timeline is None:
        return _run(job, entry, world, resume, None, limits)
    with Timeline(timeline, world) as record:
        return _run(job, entry, world, resume, record, limits)


def make_limits(job: Job, end: float | None = None) -> Limits:
    """Return the limits of a job: those of its file, and when it ends.

    Raises
    ------
    ConfigError
        The environment's end is no time, or has passed.
    """
    known = end_of_job(os.environ, time.time())
    section = job.checkpoint
    return Limits(known if end is None else end, section.margin, section.tries)


def _run(
    job: Job,
    entry: Any,
    world: World,
    resume: bool | str | Path,
    timeline: Timeline | None,
    limits: Limits,
) -> Result:
    trainer = make_trainer(job, entry, world, timeline=timeline, limits=limits)
    engine = trainer.engine
    if world.is_root:
        print(_opening(job, trainer.model, trainer.train, engine), flush=True)
    result = trainer.run(resume)
    overlap = engine.overlap_summary()
    if world.is_root:
        print(_closing(result, overlap, trainer.optimizer.loss_scale), flush=True)
    return result


def make_trainer(
    job: Job,
    entry: Any,
    world: World,
    *,
    timeline: Timeline | None = None,
    observer: StepObserver | None = None,
    reducing: World | None = None,
    repeated: int | None = None,
    limits: Limits | None = None,
) -> Trainer:
    """Make what trains a job, from its data to its optimizer; collective.

    Parameters
    ----------
    job, entry, world
        As for :func:`run`.
    timeline, observer, repeated, limits
        See :class:`Trainer`.
    reducing : World, optional
        Whose ranks average their gradients; ``world`` when left out.
    """
    train, test = open_data(job, world)
    with undrawn():
        model = entry.build(job.model.config, train)
    backend = get_backend(world.device.partition(":")[0])
    precision = make_precision(job, world)
    precision.apply(model)
    model.initialize(job.seed, np.dtype(job.training.dtype), backend)
    engine = DataParallel(
        model,
        reducing or world,
        bucket_mb=job.parallel.bucket_mb,
        first_bucket_mb=job.parallel.first_bucket_mb,
        overlap=job.parallel.overlap,
        progress=job.parallel.progress,
        reduction=job.parallel.reduction,
    )
    prepare = Prepare(
        np.dtype(job.training.dtype),
        job.data.scale,
        job.data.mean,
        job.data.std,
        entry.real_input,
        backend,
        precision,
    )
    return Trainer(
        model,
        make_optimizer(job, model, len(train), world),
        train,
        test=test,
        batch=job.data.batch,
        epochs=job.training.epochs,
        steps=job.training.steps,
        seed=job.seed,
        shuffle=shuffle_of(job.data),
        prefetch=job.data.prefetch,
        prepare=prepare,
        directory=job.output.directory,
        checkpoint_every=job.checkpoint.every,
        keep=job.checkpoint.keep,
        saving=job.checkpoint.enabled,
        asynchronous=job.checkpoint.asynchronous,
        log_every=job.training.log_every,
        evaluate_every=job.training.evaluate_every,
        evaluate_batch=job.training.evaluate_batch,
        accumulate=job.training.accumulate,
        world=world,
        engine=engine,
        compile=job.training.compile,
        description=job.to_dict(),
        timeline=timeline,
        observer=observer,
        repeated=repeated,
        limits=limits,
    )


def shuffle_of(data: DataSection) -> bool | BlockShuffle:
    """How a job shuffles its samples."""
    if data.shuffle and data.shuffle_block:
        return BlockShuffle(data.shuffle_block, data.shuffle_window)
    return data.shuffle


def open_data(job: Job, world: World) -> tuple[Dataset, Dataset | None]:
    """Open the datasets of a job; windows of test data do not overlap."""
    data, communicator = job.data, world.communicator
    local = local_copy(data.train, data, world)
    train = open_dataset(local, communicator, data.window, stride=data.stride)
    if data.test is None:
        return train, None
    local = local_copy(data.test, data, world)
    return train, open_dataset(local, communicator, data.window, stride=data.window or 1)


def make_precision(job: Job, world: World) -> Precision:
    """Return what the layers of a job compute in.

    Raises
    ------
    ConfigError
        tf32 without a GPU, or bfloat16 without ml_dtypes.
    """
    precision = Precision(job.training.precision)
    fast = precision.name == "tf32"
    if fast and world.device == "cpu":
        raise ConfigError(
            "[training] precision 'tf32' is a way in which GPUs multiply, but this job runs on the "
            "CPU; set [training] device, or another precision"
        )
    allow_tf32(fast)
    np.empty(0, precision.dtype)  # complains before anything is read
    return precision


def make_optimizer(job: Job, model: Module, samples: int, world: World | None = None) -> Optimizer:
    """Return the optimizer of a job with its schedule, for the ranks of a world."""
    section = job.optimizer
    schedule = make_schedule(job, samples)
    common: dict[str, Any] = {
        "weight_decay": section.weight_decay,
        "clip_norm": section.clip_norm,
    }
    if Precision(job.training.precision).scales_losses:
        common["loss_scale"] = LossScale(
            job.training.loss_scale,
            interval=job.training.loss_scale_interval,
            communicator=world.communicator if world is not None else None,
        )
    if section.kind == "sgd":
        return SGD(model, schedule, momentum=section.momentum, nesterov=section.nesterov, **common)
    if section.kind == "rmsprop":
        return RMSProp(model, schedule, alpha=section.alpha, eps=section.eps, **common)
    kind = Adam if section.kind == "adam" else AdamW
    return kind(model, schedule, betas=section.betas, eps=section.eps, **common)


def make_schedule(job: Job, samples: int) -> Schedule:
    """Return the schedule of a job; it ends with the training unless it says otherwise."""
    section, rate = job.schedule, job.optimizer.learning_rate
    if section.kind == "constant":
        return Constant(rate, section.warmup)
    steps = section.steps or training_steps(job, samples)
    kind = WarmupCosine if section.kind == "cosine" else WarmupLinear
    return kind(rate, steps, section.warmup, section.final)


def training_steps(job: Job, samples: int) -> int:
    """How many steps the training of a job has."""
    by_epochs = None
    if job.training.epochs is not None:
        by_epochs = job.training.epochs * -(-samples // job.data.batch)
    candidates = [n for n in (by_epochs, job.training.steps) if n is not None]
    return min(candidates)


def _opening(job: Job, model: Module, train: Dataset, engine: DataParallel) -> str:
    world = engine.world
    ranks = f"{world.size} rank{'s' if world.size > 1 else ''}"
    nodes = f"{world.nodes} node{'s' if world.nodes > 1 else ''}"
    count = world.blas_threads
    threads = f", {count} BLAS thread{'s' if count > 1 else ''} a rank" if count else ""
    steps = training_steps(job, len(train))
    note = ""
    if job.schedule.warmup >= steps:
        note = f"\nnote: warm-up takes {job.schedule.warmup} steps, but the training has {steps}"
    if world.size > 1:
        note = f"\n{world.communicator_line()}\n{engine.describe()}{note}"
    shuffle = shuffle_of(job.data)
    if isinstance(shuffle, BlockShuffle):
        order = BlockOrder(len(train), job.seed, shuffle.block, shuffle.window)
        note = f"\n{order.quality()}{note}"
    precision = Precision(job.training.precision)
    computing = f", computing in {precision.name}" if precision.is_half else ""
    return (
        f"{job.name}: {type(model).__name__} with {model.parameter_count():,} parameters, "
        f"{len(train):,} training samples, global batch {job.data.batch}{computing}\n"
        f"{ranks} on {nodes}, device {world.device}{threads}, MPI {world.mpi_library}{note}"
    )


def _closing(result: Result, overlap: Overlap | None, loss_scale: LossScale | None) -> str:
    lines = ["", result.phases, ""]
    if result.resumed_step == result.step:
        lines = [""]
        lines.append("nothing was left to do: raise [training] epochs or steps, or use --fresh")
    if result.data:
        lines.append(result.data)
    if overlap is not None:
        lines.append(str(overlap))
    if loss_scale is not None:
        lines.append(str(loss_scale))
    shown = [f"{name} {value:.4f}" for name, value in result.metrics.items()]
    if shown:
        lines.append(f"test {', '.join(shown)}")
    if result.checkpoint is not None:
        lines.append(f"checkpoint {result.checkpoint}")
    if result.stop_signal:
        name = signal.Signals(result.stop_signal).name
        lines.append(f"stopped by {name} after step {result.step}; the same command continues")
    if result.out_of_time:
        lines.append(f"out of time after step {result.step}; the same command continues")
    return "\n".join(lines)
