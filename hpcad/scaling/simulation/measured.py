"""The workload of a scaling study, from its samples at the fewest ranks.

What is fitted, and to what: the time of each phase of a step, as a straight line of the batch of a
rank (least squares through the medians, where the study has several batches at so many ranks;
proportional to it otherwise, the update apart); the noise, by the spread of the ranks' steps. What
is assumed: the backward pass makes the same number of gradient bytes in every second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.simulation.machine import Device, Noise
from hpcad.scaling.simulation.workload import Gradient, Work, Workload
from hpcad.scaling.study.samples import Samples, read_samples

_UNIT = Device(flops=1.0, memory_bandwidth=1.0)  # an "operation" of it is a second


@dataclass(frozen=True)
class Measured:
    """What a study says.

    Attributes
    ----------
    workload : Workload
        Its operations are seconds of the study's device.
    device : Device
        To be simulated with.
    noise : Noise
    """

    workload: Workload
    device: Device
    noise: Noise


def read_study(directory: Path) -> list[Samples]:
    """The samples of all runs of a study.

    Raises
    ------
    DataError
        There are none, or one cannot be read.
    """
    folder = directory / "samples" if (directory / "samples").is_dir() else directory
    # What tells which losses are right is timed too seldom to count as a run.
    paths = sorted(p for p in folder.glob("*.h5") if not p.name.startswith((".", "reference-")))
    if not paths:
        raise DataError(
            f"{directory} holds no samples of a scaling study (*.h5); run it first with "
            "`hpcad scaling run`"
        )
    return [read_samples(path) for path in paths]


def measured(directory: Path) -> Measured:
    """The workload of a study's plain runs at the fewest ranks; see the module."""
    runs = [run for run in read_study(directory) if run.point.control == "none"]
    fewest = min((run.point.ranks for run in runs), default=0)
    runs = [run for run in runs if run.point.ranks == fewest and run.point.sweep != "model"]
    if not runs:
        raise DataError(f"{directory} holds no run without a control; there is nothing to start at")
    batches = np.array([run.point.batch / run.point.ranks for run in runs])
    lines = {name: _line(batches, _medians(runs, name)) for name in ("forward", "backward")}
    update = float(np.median(_medians(runs, "optimizer")))
    buckets = _buckets(directory)
    forward, backward = (np.array([lines[name]]) for name in ("forward", "backward"))
    shares = np.array(buckets, np.float64)[:, None] / max(sum(buckets), 1)
    flat = runs[0].facts
    workload = Workload(
        name=directory.name,
        batch=float(batches.max()),
        forward=Work(forward, np.zeros((1, 2))),
        backward=Work(shares * backward, np.zeros((len(buckets), 2))),
        optimizer=Work(np.array([[update, 0.0]]), np.zeros((1, 2))),
        gradients=tuple(Gradient(int(n), i + 1) for i, n in enumerate(buckets)),
        parameters=int(flat.get("parameters", 0)),
        state_bytes=3.0 * sum(buckets),
        notes=(
            f"fitted to {len(runs)} runs at {fewest} rank{'s' if fewest > 1 else ''}, batches of "
            f"{', '.join(f'{b:g}' for b in sorted(set(batches)))} a rank",
            "gradients are assumed to become ready at a constant number of bytes per second",
        ),
    )
    return Measured(workload, _UNIT, Noise(sigma=_sigma(runs)))


def _medians(runs: Sequence[Samples], phase: str) -> np.ndarray:
    return np.array([float(np.median(run.phases[phase][:, run.timed])) for run in runs])


def _line(batches: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Seconds of any batch, and seconds of a sample."""
    if len(set(batches)) == 1:
        return 0.0, float(np.median(seconds) / batches[0])
    slope, fixed = np.polyfit(batches, seconds, 1, w=1 / seconds)
    return max(float(fixed), 0.0), max(float(slope), 0.0)


def _sigma(runs: Sequence[Samples]) -> float:
    """Spread of a rank's steps: the median absolute deviation, as sigma of a normal one."""
    relative = []
    for run in runs:
        seconds = run.seconds[:, run.timed]
        relative.append((seconds / np.median(seconds, axis=1, keepdims=True)).ravel())
    spread = np.concatenate(relative)
    return min(1.4826 * float(np.median(np.abs(spread - 1))), 0.99)


def _buckets(directory: Path) -> list[int]:
    """Bytes of the messages, of the runs with the most ranks; they are sent there."""
    runs = read_study(directory)
    most = max(runs, key=lambda run: run.point.ranks)
    found = [int(n) for n in most.facts.get("buckets", [])]
    return found or [int(most.facts.get("gradient_bytes", 0)) or 1]
