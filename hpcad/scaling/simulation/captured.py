"""The workload of a job file: what its compiled training step does, instruction by instruction.

The step is captured twice, at two batches, for what of each instruction grows with the batch. The
places of the program's effects say where the backward pass begins and ends and where every gradient
is ready (:meth:`DataParallel.ready`), so nothing of that is assumed. Capturing runs the step once
at each batch on this machine; nothing is timed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.backend import get_backend
from hpcad.data import Batch, Dataset
from hpcad.errors import CaptureError, ConfigError
from hpcad.nn import undrawn
from hpcad.nn.arena import ParameterArena
from hpcad.optim import Optimizer
from hpcad.parallel import DataParallel, World, init
from hpcad.program.compiled import Compiled
from hpcad.program.emission.executable import Executable
from hpcad.program.instruction import Call
from hpcad.program.options import Options
from hpcad.scaling.simulation.workload import Gradient, Work, Workload, work
from hpcad.training.job import Job, load_job
from hpcad.training.phases import PhaseTimer
from hpcad.training.prepare import Prepare
from hpcad.training.run import make_optimizer, make_precision, open_data
from hpcad.training.step import TrainingProgram

_UPDATE_FLOPS = 12  # of a parameter, in Adam's step; what limits it is its bytes


def captured(
    path: Path, models: Mapping[str, Any], overrides: Sequence[str] = (), batch: int | None = None
) -> Workload:
    """The workload of a job.

    Parameters
    ----------
    path
        A job file.
    models
        Kind of a model -> its :class:`~hpcad.models.registry.ModelEntry`.
    batch
        Samples to capture with; the job's batch when left out.

    Raises
    ------
    ConfigError
        The job is wrong, or its step cannot be compiled.
    """
    configurations = {kind: entry.config for kind, entry in models.items()}
    job = load_job(path, overrides, models=configurations)
    return captured_job(job, models[job.model.kind], batch)


def captured_job(job: Job, entry: Any, batch: int | None = None) -> Workload:
    """The workload of a job that has been read; see :func:`captured`.

    Parameters
    ----------
    entry : ModelEntry
        How the job's model is built.
    """
    samples = job.data.batch if batch is None else batch
    other = max(1, samples // 2) if samples > 1 else 2
    world = init("cpu")
    if world.size > 1:
        raise ConfigError("simulate predicts for any number of ranks from one: leave mpirun out")
    return _joined(job, *(_trace(job, entry, world, n) for n in (samples, other)))


@dataclass(frozen=True)
class _Trace:
    """One capture: costs of its steps by pass, and its gradients."""

    samples: int
    forward: np.ndarray[Any, Any]  # (steps, 2): operations and bytes
    backward: np.ndarray[Any, Any]
    gradients: tuple[Gradient, ...]
    update_bytes: float
    state_bytes: float
    parameters: int
    sample_bytes: float


def _trace(job: Job, entry: Any, world: World, samples: int) -> _Trace:
    """Capture the step of a job with so many samples."""
    job = dataclasses.replace(job, data=dataclasses.replace(job.data, batch=samples))
    program, engine, batch = _program(job, entry, world, samples)
    compiled = Compiled(program.step, Options(ahead=True, strict=True))
    fields = program.prepare(batch.fields)
    arguments = (fields, batch.ids, np.array(0), 1.0)
    loss_scale = program.optimizer.loss_scale
    try:
        with np.errstate(over="ignore", invalid="ignore"), program.phases("forward"):
            compiled(*arguments, *(() if loss_scale is None else (loss_scale.value,)))
    except CaptureError as error:
        raise ConfigError(f"{job.name} cannot be simulated from its program: {error}") from error
    return _read(compiled.program, program, engine, samples, batch)


def _program(
    job: Job, entry: Any, world: World, samples: int
) -> tuple[TrainingProgram, DataParallel, Batch]:
    train, _ = open_data(job, world)
    if samples > len(train):
        raise ConfigError(
            f"a batch of {samples} needs as many samples, but {job.data.train} has {len(train)}; "
            "give --capture-batch"
        )
    with undrawn():
        model = entry.build(job.model.config, train)
    precision, dtype = make_precision(job, world), np.dtype(job.training.dtype)
    precision.apply(model)
    model.initialize(job.seed, dtype, get_backend("cpu"))
    engine = DataParallel(model, world)
    prepare = Prepare(
        dtype, job.data.scale, job.data.mean, job.data.std, entry.real_input,
        get_backend("cpu"), precision,
    )  # fmt: skip
    program = TrainingProgram(
        model, lambda net, fields: net.loss(fields), make_optimizer(job, model, len(train), world),
        engine, prepare=prepare, full=samples, seed=job.seed, phases=PhaseTimer(),
        compile=False, before_update=lambda: None,
    )  # fmt: skip
    return program, engine, _first_batch(train, samples)


def _first_batch(train: Dataset, samples: int) -> Batch:
    ids = np.arange(samples, dtype=np.int64)
    return Batch(train.read(ids), ids, samples, 0, 0, 0, samples, False)


def _read(
    executable: Executable,
    program: TrainingProgram,
    engine: DataParallel,
    samples: int,
    batch: Batch,
) -> _Trace:
    """Split the steps of a program at its effects, which stand in it in their order."""
    effects = iter([i.op for i in executable.program.instructions if isinstance(i.op, Call)])
    passes: dict[str, list[tuple[float, float]]] = {"forward": [], "backward": [], "update": []}
    ready: dict[int, int] = {}
    now = "forward"
    for step in executable.steps:
        if step.kind != "effect":
            passes[now].append((step.flops, step.nbytes))
        elif step.name == "call":
            op = next(effects)
            name = getattr(op.function, "__name__", "")
            if name == "turn" and op.args == ("backward",):
                now = "backward"
            elif name == "ready":
                ready[id(op.args[0])] = len(passes["backward"])
            elif name == "finish":
                now = "update"
    optimizer = program.optimizer
    gradients = _gradients(engine.arenas, ready, len(passes["backward"]))
    values = sum(arena.values.flat.nbytes for arena in engine.arenas)
    state = sum(array.nbytes for array in _state_arrays(optimizer))
    grads = sum(arena.grads.flat.nbytes for arena in engine.arenas)
    return _Trace(
        samples,
        np.array(passes["forward"], np.float64).reshape(-1, 2),
        np.array(passes["backward"], np.float64).reshape(-1, 2),
        gradients,
        update_bytes=2 * values + 2 * state + grads,
        state_bytes=values + state,
        parameters=program.model.parameter_count(),
        sample_bytes=sum(array.nbytes for array in batch.fields.values()) / samples,
    )


def _gradients(
    arenas: Sequence[ParameterArena], ready: Mapping[int, int], end: int
) -> tuple[Gradient, ...]:
    """In the order of the buckets, each with the padding behind it, which is sent as well."""
    found = []
    for arena in reversed(arenas):
        stop, itemsize = arena.grads.size, arena.grads.dtype.itemsize
        for parameter in reversed(arena.parameters):
            start = arena.span(parameter).start
            found.append(Gradient((stop - start) * itemsize, ready.get(id(parameter), end)))
            stop = start
    return tuple(found)


def _state_arrays(optimizer: Optimizer) -> list[Any]:
    return [arena.flat for slots in optimizer.state for arena in slots.values()]


def _joined(job: Job, one: _Trace, other: _Trace) -> Workload:
    """Operations and bytes as straight lines of the batch, through the two captures."""
    parts = {}
    for name in ("forward", "backward"):
        a, b = getattr(one, name), getattr(other, name)
        if a.shape != b.shape:
            # Another batch has led to another program: all of it grows with the batch.
            slope, fixed = a / one.samples, np.zeros_like(a)
        else:
            slope = np.maximum((a - b) / (one.samples - other.samples), 0.0)
            fixed = np.maximum(a - slope * one.samples, 0.0)
        columns = [np.stack([fixed[:, i], slope[:, i]], axis=1) for i in (0, 1)]
        parts[name] = Work(columns[0], columns[1])
    update = work([_UPDATE_FLOPS * one.parameters], [one.update_bytes], per_sample=False)
    parallel = job.parallel
    sizes = None
    if parallel.bucket_mb is not None:
        others = 1e6 * parallel.bucket_mb
        first = others / 8 if parallel.first_bucket_mb is None else 1e6 * parallel.first_bucket_mb
        sizes = (first, others)
    return Workload(
        name=job.name,
        batch=one.samples,
        forward=parts["forward"],
        backward=parts["backward"],
        optimizer=update,
        gradients=one.gradients,
        bucket_bytes=sizes,
        reduction="overlapped" if parallel.overlap else "blocking",
        parameters=one.parameters,
        state_bytes=one.state_bytes,
        sample_bytes=one.sample_bytes,
        notes=(
            f"captured at {one.samples} and {other.samples} samples: "
            f"{len(one.forward)} steps forward, {len(one.backward)} backward",
        ),
    )
