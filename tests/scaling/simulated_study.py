"""Study directories of simulated times: step times by the USL with known parameters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hpcad.scaling.laws.models import USL
from hpcad.scaling.laws.points import Conditions
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples, write_samples

T1, SIGMA, KAPPA = 1e-4, 0.02, 5e-4  # seconds per sample, and without a unit
SHARES = {"forward": 0.3, "backward": 0.4, "exposed communication": 0.15, "optimizer": 0.1}
UNDER_WAY = 0.2  # share of a step in which a reduction is under way
GRADIENT_BYTES, FLOPS_PER_SAMPLE, PEAK, BANDWIDTH = 4e6, 5e4, 1e9, 1e10


def step_seconds(point: Point) -> float:
    """The true step time."""
    at = Conditions(point.ranks, point.batch)
    time = float(USL.seconds(at, T1, SIGMA, KAPPA))
    return time * {"none": 1.0, "communication off": 0.9, "synthetic data": 0.95}[point.control]


def strong(ranks: Iterable[int] = (1, 2, 4, 8), batch: int = 256, **more) -> list[Point]:
    return [Point("strong", count, batch, **more) for count in ranks]


def weak(ranks: Iterable[int] = (1, 2, 4, 8), batch: int = 64) -> list[Point]:
    return [Point("weak", count, count * batch) for count in ranks]


def facts(point: Point, **changed) -> dict:
    return {
        "hosts": [f"node{rank // 4}" for rank in range(point.ranks)],
        "nodes": -(-point.ranks // 4),
        "cores": 8,
        "threads": 2,
        "oversubscribed": False,
        "device": "cpu",
        "parameters": GRADIENT_BYTES // 4,
        "gradient_bytes": GRADIENT_BYTES,
        "buckets": [GRADIENT_BYTES],
        "flops": FLOPS_PER_SAMPLE * point.batch,
        "peak_flops": PEAK,
        "memory_bandwidth": BANDWIDTH,
        "digests": ["0" * 16] * point.ranks,
        "clock": {"name": "perf_counter", "resolution": 1e-9},
        "began": "2026-01-01T00:00:00+00:00",
        "dataset": "simulated",
        "seed": 1,
        "environment": {"git": "0123abc", "machine": "simulated", "variables": {"OMP_X": "1"}},
        **changed,
    }


def samples(
    point: Point,
    repeat: int,
    random: np.random.Generator,
    noise: float = 0.0,
    steps: int = 20,
    warmup: int = 2,
    factor: float = 1.0,
    **changed,
) -> Samples:
    """A run: `noise` is the scatter between runs, as a share; within a run it is a half of it."""
    shape = (point.ranks, warmup + steps)
    step = factor * step_seconds(point) * np.exp(noise * random.standard_normal())
    step = step * np.exp(noise / 2 * random.standard_normal(shape[1]))
    early = 0.05 * random.random(shape) if noise else np.zeros(shape)
    early[random.integers(point.ranks, size=shape[1]), np.arange(shape[1])] = 0.0
    seconds = step * (1 - early)
    seconds[:, :warmup] *= 50
    alone = point.ranks == 1 or point.control == "communication off"
    shares = {name: share for name, share in SHARES.items() if not (alone and "exposed" in name)}
    return Samples(
        point,
        repeat,
        seconds,
        {name: share * seconds for name, share in shares.items()},
        (0.0 if alone else UNDER_WAY) * seconds,
        np.ones(shape) / point.ranks,
        warmup,
        facts(point, **changed),
    )


def write_run(directory: Path, run: Samples, status: str = "good", reason: str = "") -> None:
    file = f"runs/{run.name}.h5"
    write_samples(directory / file, run)
    line = {"point": run.point.to_dict(), "repeat": run.repeat, "status": status}
    line |= {"reason": reason, "file": file, "median": float(np.median(run.step_seconds))}
    with (directory / "runs.jsonl").open("a") as lines:
        lines.write(json.dumps(line) + "\n")


def write_study(
    directory: Path,
    points: Iterable[Point],
    repeats: int = 6,
    seed: int = 0,
    name: str = "simulated",
    **how,
) -> Path:
    """Write a study; `how` goes to `samples`."""
    random = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "study.toml").write_text(f'name = "{name}"\n')
    (directory / "runs.jsonl").touch()
    for point in points:
        for repeat in range(repeats):
            write_run(directory, samples(point, repeat, random, **how))
    return directory
