"""The figures of one point, from the samples of all its repetitions.

Costs are averaged arithmetically and rates harmonically: a rate over several runs is all work over
all time. No ratio is averaged; a ratio is formed of sums (Hoefler & Belli 2015, SC15, rules 3 and
4; doi:10.1145/2807591.2807644).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.scaling.laws.interval import Interval
from hpcad.scaling.laws.medians import FEWEST, median
from hpcad.scaling.laws.points import Array
from hpcad.scaling.report.phases import EXPOSED, breakdown
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples

#: Fewer steps than these have no such percentile: nothing, or next to nothing, lies beyond.
_STEPS_OF_P95, _STEPS_OF_P99 = 20, 100


def bounds(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON can hold it; None where it is not bounded."""
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    kept = {name: end if math.isfinite(end) else None for name, end in ends.items()}
    return {**kept, "level": interval.level}


def repetition_medians(runs: Sequence[Samples]) -> list[float]:
    """The median step of each repetition; these are the independent values of a point."""
    return [float(np.median(run.step_seconds)) for run in runs]


def row(point: Point, runs: Sequence[Samples]) -> dict[str, Any]:
    """The figures of a point.

    Seconds, bytes per second, samples per second, floating-point operations per second; None where
    there is no such figure.

    Raises
    ------
    DataError
        Its phases do not sum to its steps.
    """
    steps = np.concatenate([run.step_seconds for run in runs])
    medians = repetition_medians(runs)
    return {
        "name": point.name,
        **_setting(point, runs),
        "repetitions": len(runs),
        "steps": len(steps),
        "warmup": max(run.warmup for run in runs),
        "medians": medians,
        "median": _median(medians, steps),
        "mean": float(steps.mean()),
        "p95": float(np.quantile(steps, 0.95)) if len(steps) >= _STEPS_OF_P95 else None,
        "p99": float(np.quantile(steps, 0.99)) if len(steps) >= _STEPS_OF_P99 else None,
        "imbalance": _imbalance([run.seconds[:, run.timed] for run in runs]),
        "work_imbalance": _imbalance([_work(run) for run in runs]),
        "samples_per_second": float(point.batch * len(steps) / steps.sum()),
        **_flops(runs),
        **_communication(point, runs),
        "phases": breakdown(point.name, runs),
    }


def _setting(point: Point, runs: Sequence[Samples]) -> dict[str, Any]:
    """What was run, and on what."""
    facts = [run.facts for run in runs]
    is_gpu = any(fact["device"] == "gpu" for fact in facts)
    return {
        "sweep": point.sweep,
        "variant": point.variant,
        "control": point.control,
        "nodes": max(int(fact["nodes"]) for fact in facts),
        "ranks": point.ranks,
        "gpus": point.ranks if is_gpu else 0,
        "device": facts[0]["device"],
        "cores": facts[0]["cores"],
        "threads": facts[0]["threads"],
        "oversubscribed": any(bool(fact["oversubscribed"]) for fact in facts),
        "batch": point.batch,
        "local_batch": [point.batch // point.ranks, -(-point.batch // point.ranks)],
        "parameters": facts[0]["parameters"],
        "gradient_bytes": facts[0]["gradient_bytes"],
    }


def _median(medians: list[float], steps: Array) -> dict[str, Any]:
    """The median of the repetitions' medians, with an interval.

    Of six repetitions or more by order statistics. Fewer have no such interval at 95 %: then it is
    that of all steps, widened to hold each repetition's median. Steps of a run are not independent
    of each other, so it may hold the truth less often, and the basis is told.
    """
    if len(medians) >= FEWEST:
        return {**bounds(median(medians)), "basis": "repetitions"}
    value, pooled = float(np.median(medians)), median(steps)
    low, high = min(pooled.low, *medians, math.inf), max(pooled.high, *medians, 0.0)
    return {**bounds(Interval(value, low, high, pooled.level)), "basis": "steps"}


def _work(run: Samples) -> Array:
    """Seconds of each rank's step in which it did not wait for reductions."""
    waited = run.phases.get(EXPOSED, np.zeros_like(run.seconds))
    return np.asarray((run.seconds - waited)[:, run.timed])


def _imbalance(parts: list[Array]) -> float:
    """The slowest rank's time over the mean rank's, both summed over steps."""
    slowest = sum(float(part.max(axis=0).sum()) for part in parts)
    return slowest / sum(float(part.mean(axis=0).sum()) for part in parts)


def _flops(runs: Sequence[Samples]) -> dict[str, float | None]:
    """Achieved operations per second of all ranks, and their share of what GEMM reached."""
    if any(run.facts["flops"] is None for run in runs):
        return {"flops": None, "flops_per_second": None, "peak_share": None}
    done = sum(float(run.facts["flops"]) * len(run.step_seconds) for run in runs)
    seconds = sum(float(run.step_seconds.sum()) for run in runs)
    possible = None
    if all(run.facts["peak_flops"] for run in runs):
        possible = sum(
            float(run.facts["peak_flops"]) * run.point.ranks * float(run.step_seconds.sum())
            for run in runs
        )
    return {
        "flops": float(runs[0].facts["flops"]),
        "flops_per_second": done / seconds,
        "peak_share": done / possible if possible else None,
    }


def _communication(point: Point, runs: Sequence[Samples]) -> dict[str, float | None]:
    """Seconds of a step, as means over ranks and steps, and the bandwidths.

    ``algbw`` is the gradient's bytes over the time in which its reduction was under way on a rank,
    waiting for late ranks included; ``busbw = algbw 2 (P - 1) / P`` is what a ring's links carry.
    """
    under_way = [run.communication[:, run.timed] for run in runs]
    waited = [run.phases.get(EXPOSED, np.zeros_like(run.seconds))[:, run.timed] for run in runs]
    count = sum(part.size for part in under_way)
    total = sum(float(part.sum()) for part in under_way)
    exposed = sum(float(part.sum()) for part in waited)
    sent = sum(
        float(run.facts["gradient_bytes"]) * part.size
        for run, part in zip(runs, under_way, strict=True)
    )
    is_sent = point.ranks > 1 and point.control != "communication off" and total > 0 and sent > 0
    algbw = sent / total if is_sent else None
    return {
        "communication": total / count,
        "exposed": exposed / count,
        # Waiting includes the call that asks, and so is a little more than what is under way.
        "hidden": max(total - exposed, 0.0) / count,
        "algbw": algbw,
        "busbw": algbw * 2 * (point.ranks - 1) / point.ranks if algbw is not None else None,
    }
