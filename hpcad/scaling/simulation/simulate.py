"""From a workload and a machine to a training step at any number of ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hpcad.errors import ConfigError
from hpcad.parallel.gradients.buckets import choose_sizes
from hpcad.parallel.gradients.fit import Fit
from hpcad.scaling.simulation.collectives import Kind, Stage, collective
from hpcad.scaling.simulation.failures import Interruptions
from hpcad.scaling.simulation.fusion import fused
from hpcad.scaling.simulation.machine import Machine
from hpcad.scaling.simulation.noise import slowest
from hpcad.scaling.simulation.prediction import Prediction, Request
from hpcad.scaling.simulation.schedule import schedule
from hpcad.scaling.simulation.timeline import Collective, Segment, play
from hpcad.scaling.simulation.workload import Array, Workload

_GRID = 9  # factors at which the step is played; it is a broken line in between
_COPY = 2  # a checkpoint in the background is copied in memory: read and written


def simulate(
    workload: Workload, machine: Machine, ranks: Sequence[int], request: Request | None = None
) -> list[Prediction]:
    """Predict the step at each of ``ranks``.

    Raises
    ------
    ConfigError
        The machine has no room for so many, or the batch is too small.
    """
    request = request or Request()
    if not ranks or min(ranks) < 1:
        raise ConfigError(f"ranks must be whole numbers of at least 1, not {list(ranks)}")
    found = [_predict(workload, machine, count, request) for count in ranks]
    base = found[ranks.index(1)] if 1 in ranks else _one_rank(workload, machine, request)
    alone = base.samples / base.step
    return [replace(each, efficiency=each.rate / each.ranks / alone) for each in found]


def _one_rank(workload: Workload, machine: Machine, request: Request) -> Prediction:
    return _predict(workload, machine, 1, request)


def _predict(workload: Workload, machine: Machine, ranks: int, request: Request) -> Prediction:
    samples = request.samples(workload, ranks)
    known: dict[tuple[float, Kind], Any] = {}

    def costs(nbytes: float, kind: Kind) -> tuple[Stage, ...]:
        if (nbytes, kind) not in known:
            known[nbytes, kind] = collective(machine, ranks, nbytes, kind)
        return tuple(known[nbytes, kind].stages)

    times = workload.seconds(machine.device_at(ranks), samples, machine.device)
    bucketed = _bucketed(workload, machine, ranks, request, times[1])
    segments, collectives = schedule(bucketed, times, costs)
    factors = slowest(machine.noise, ranks, request.draws, request.seed)
    steals = machine.collectives.steals
    steps = _steps(segments, collectives, factors, steals)
    plain = play(segments, collectives, steals)
    wait = _data_wait(machine, ranks * samples * workload.sample_bytes, float(steps.mean()))
    step = float(steps.mean()) + wait
    interruptions = interruptions_of(workload, machine, ranks, request.background)
    interval = request.interval or max(interruptions.best_interval(), step)
    checkpoints, failures = interruptions.overheads(interval)
    longest = max(known.items(), key=lambda item: item[0][0])[1].algorithm if known else "none"
    return Prediction(
        ranks=ranks,
        nodes=machine.nodes(ranks),
        samples=samples,
        step=step,
        step_p95=float(np.quantile(steps, 0.95)) + wait,
        compute=plain.computing,
        exposed=plain.exposed,
        hidden=max(plain.communicating - plain.exposed, 0.0),
        imbalance=float(steps.mean()) - plain.end,
        data_wait=wait,
        checkpoints=checkpoints * step,
        failures=failures * step,
        interval=interval,
        messages=sum(1 for each in collectives if each.stages),
        algorithm=longest,
    )


def _steps(
    segments: list[Segment], collectives: list[Collective], factors: Array, steals: float
) -> Array:
    """Times of the steps whose slowest rank computes longer by these factors.

    A step is a broken line of the factor: few points of it are played.
    """
    low, high = float(factors.min()), float(factors.max())
    if low == high:
        return np.full(len(factors), _slowed(segments, collectives, low, steals))
    grid = np.linspace(low, high, _GRID)
    played = [_slowed(segments, collectives, float(f), steals) for f in grid]
    return np.interp(factors, grid, played)


def _slowed(
    segments: list[Segment], collectives: list[Collective], factor: float, steals: float
) -> float:
    slower = [Segment(segment.seconds * factor, segment.needs) for segment in segments]
    return play(slower, collectives, steals).end


def _bucketed(
    workload: Workload, machine: Machine, ranks: int, request: Request, backward: Array
) -> Workload:
    """The workload with the messages of this number of ranks."""
    if request.bucket_bytes is not None:
        return workload.with_buckets(*request.bucket_bytes)
    if ranks == 1 or not workload.gradients or workload.reduction == "sharded":
        return workload
    if workload.fusion is not None:
        messages = fused(
            workload.gradients,
            backward,
            lambda nbytes: collective(machine, ranks, nbytes).seconds,
            *workload.fusion,
        )
        return replace(workload, gradients=messages, bucket_bytes=None)
    if workload.bucket_bytes is not None:
        return workload
    # hpcad measures reductions and draws a line through them; here they are those of the machine.
    few, many = 1 << 13, 1 << 21
    short = collective(machine, ranks, few).seconds
    slope = max((collective(machine, ranks, many).seconds - short) / (many - few), 1e-15)
    fit = Fit(max(short - slope * few, 1e-7), slope)
    sizes = choose_sizes(None, None, workload.gradient_bytes, fit)
    return workload.with_buckets(sizes.first, sizes.others)


def _data_wait(machine: Machine, nbytes: float, step: float) -> float:
    """What reading takes longer than the step, behind which it hides."""
    if machine.storage.read_bandwidth is None:
        return 0.0
    return max(nbytes / machine.storage.read_bandwidth - step, 0.0)


def interruptions_of(
    workload: Workload, machine: Machine, ranks: int, background: bool
) -> Interruptions:
    """Checkpoints and failures of a job of so many ranks."""
    hours = machine.failures.node_mtbf_hours
    mtbf = math.inf if hours is None else 3600 * hours / machine.nodes(ranks)
    rate = machine.storage.write_bandwidth
    writing = workload.state_bytes / rate if rate else 0.0
    if not background:
        return Interruptions(mtbf, writing, 0.0, machine.failures.restart_seconds)
    # Every rank copies its part of the state in its memory, and goes on.
    copied = _COPY * workload.state_bytes / ranks / machine.device.memory_bandwidth
    return Interruptions(mtbf, copied, writing, machine.failures.restart_seconds)
