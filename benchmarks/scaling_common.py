"""What strong and weak scaling studies share: the plan, the checks, the table.

A study runs every point several times, in random order, and pools the step times of a point. A
step's time is the maximum over its ranks, each of which starts its clock when all have passed a
barrier. A point whose results are wrong is refused.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environment
import numpy as np
from medians import median_interval
from scaling_cases import CASES, ScalingCase
from scaling_launch import PointError, run_point

TOLERANCE = 1e-4  # relative, between the loss of a step and that of the run it is checked against
CHECKED_STEPS = 3  # of a weak point, whose reference is one rank with the whole batch
# Of any point: later, rounding that was summed in another order has grown with the training
# itself (from 1e-6 to some 1e-4 within 40 steps in float32), and says nothing any more.
COMPARED_STEPS = 8
Runs = dict[tuple[str, int], list[dict[str, Any]]]  # (model, ranks) -> results of the repeats


class WrongResultError(Exception):
    """A point computed something else than one rank does."""


@dataclass(frozen=True)
class Kind:
    """Strong or weak scaling.

    Attributes
    ----------
    name : str
    fixed : str
        What stays the same when ranks are added.
    """

    name: str
    fixed: str

    def batch(self, case: ScalingCase, ranks: int, wished: int | None) -> int:
        """Global batch of a point."""
        if self.name == "weak":
            return (wished or case.weak_batch) * ranks
        return wished or case.strong_batch

    def speedup(self, base: float, time: float, ranks: int) -> float:
        """How much more is done in the same time than by one rank."""
        return base / time * (ranks if self.name == "weak" else 1)


STRONG = Kind("strong", "global batch")
WEAK = Kind("weak", "batch per rank")


def run_study(kind: Kind, arguments: Sequence[str] | None = None) -> int:
    """Run the study that the command line describes; return the exit code."""
    options = _options(kind, arguments)
    try:
        _check_batches(kind, options)
        facts = environment.describe() | {"kind": kind.name, "threads_per_rank": options.threads}
        runs = _run_all(kind, options)
        tables: list[dict[str, Any]] = []
        refused: list[str] = []
        for model in options.models:
            worst = _check(kind, runs, model, options, refused)
            if 1 in worst:
                rows = summarise(kind, runs, model, worst, facts["cores"], options)
                tables.append({"model": model, "rows": rows})
    except PointError as error:
        print(f"{kind.name}_scaling: {error}", file=sys.stderr)
        return 2
    facts["mpi"] = runs[options.models[0], 1][0]["mpi"]
    _print_report(kind, facts, tables, options)
    for line in refused:
        print(f"{kind.name}_scaling: refused: {line}", file=sys.stderr)
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key != "json"}
        points = [{"model": m, "ranks": p, "repeats": results} for (m, p), results in runs.items()]
        environment.write_json(options.json, {"environment": facts, "settings": settings,
                               "tables": tables, "refused": refused, "points": points})  # fmt: skip
    return 1 if refused else 0


# -- running ------------------------------------------------------------------------------


def _run_all(kind: Kind, options: argparse.Namespace) -> Runs:
    """Run every point of the plan; the order is random, so drifts of the machine hit all alike."""
    plan = [(m, p) for m in options.models for p in options.ranks for _ in range(options.repeats)]
    random.Random(options.seed).shuffle(plan)
    runs: Runs = {}
    for i, (model, ranks) in enumerate(plan, start=1):
        result = run_point(
            model,
            ranks,
            kind.batch(CASES[model], ranks, options.batch),
            steps=options.steps,
            warmup=options.warmup,
            threads=options.threads,
            timeout=options.timeout,
        )
        runs.setdefault((model, ranks), []).append(result)
        middle = 1e3 * float(np.median(step_seconds(result)))
        words = f"[{i}/{len(plan)}] {model} on {ranks} ranks: {middle:.2f} ms a step"
        print(words, file=sys.stderr, flush=True)
    return runs


def step_seconds(result: dict[str, Any]) -> np.ndarray:
    """Time of every step of a run: the maximum over its ranks."""
    return np.max([rank["seconds"] for rank in result["per_rank"]], axis=0)


def global_losses(result: dict[str, Any]) -> np.ndarray:
    """Loss of every step over the global batch, warm-up included."""
    return np.sum([rank["losses"] for rank in result["per_rank"]], axis=0)


# -- checking -----------------------------------------------------------------------------


def _check(
    kind: Kind, runs: Runs, model: str, options: argparse.Namespace, refused: list[str]
) -> dict[int, float]:
    """Largest difference of the losses of every good point; the others go into ``refused``."""
    worst: dict[int, float] = {}
    for ranks in options.ranks:
        reference = _reference(kind, runs, model, ranks, options)
        try:
            worst[ranks] = max(check(result, reference) for result in runs[model, ranks])
        except WrongResultError as error:
            refused.append(f"{model} on {ranks} ranks: {error}")
    return worst


def _reference(
    kind: Kind, runs: Runs, model: str, ranks: int, options: argparse.Namespace
) -> dict[str, Any]:
    """A run of one rank on the same global batches."""
    if kind.name == "strong" or ranks == 1:
        return runs[model, 1][0]
    batch = kind.batch(CASES[model], ranks, options.batch)
    return run_point(
        model,
        1,
        batch,
        steps=CHECKED_STEPS,
        warmup=0,
        threads=options.threads,
        timeout=options.timeout,
    )


def check(result: dict[str, Any], reference: dict[str, Any]) -> float:
    """Compare a run with one of a single rank on the same global batches.

    Returns
    -------
    float
        Largest relative difference of the losses of a step.

    Raises
    ------
    WrongResultError
        The losses differ, or the ranks ended with different parameters.
    """
    if len({rank["parameters"] for rank in result["per_rank"]}) > 1:
        raise WrongResultError("the ranks ended with different parameters")
    both = zip(global_losses(result), global_losses(reference), strict=False)
    pairs = list(both)[:COMPARED_STEPS]
    differences = [abs(got - expected) / abs(expected) for got, expected in pairs]
    for k, difference in enumerate(differences):
        if not difference <= TOLERANCE:
            raise WrongResultError(
                f"the loss of step {k} differs from that on one rank by {difference:.1e} "
                f"(relative); at most {TOLERANCE:.0e} is accepted"
            )
    return max(differences)


# -- reporting ----------------------------------------------------------------------------


def summarise(
    kind: Kind,
    runs: Runs,
    model: str,
    differences: dict[int, float],
    cores: int,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """One row per number of ranks; times in ms, intervals of 95 % confidence.

    Parameters
    ----------
    differences : dict of int to float
        By number of ranks: how far its losses were from those on one rank.
    """
    rows: list[dict[str, Any]] = []
    base: tuple[float, float, float] | None = None
    for p in differences:
        results = runs[model, p]
        pooled = 1e3 * np.concatenate([step_seconds(result) for result in results])
        middle, low, high = median_interval(pooled)
        base = base or (middle, low, high)
        batch = kind.batch(CASES[model], p, options.batch)
        # The worst and the best that both intervals allow; at p = 1 the two are the same number.
        least, most = (1.0, 1.0) if p == 1 else (
            kind.speedup(base[1], high, p) / p, kind.speedup(base[2], low, p) / p)  # fmt: skip
        speedup = kind.speedup(base[0], middle, p)
        rows.append(
            {
                "ranks": p,
                "global_batch": batch,
                "steps": len(pooled),
                "median": middle,
                "interval": [low, high],
                "p95": float(np.percentile(pooled, 95)),
                "speedup": speedup,
                "efficiency": speedup / p,
                "efficiency_interval": [least, most],
                **{name: _part(results, name) for name in _PARTS},
                "samples_per_second": 1e3 * batch / middle,
                "loss_difference": differences[p],
                "oversubscribed": p * options.threads > cores,
            }
        )
    return rows


_PARTS = ("forward", "backward", "exposed", "optimizer")


def _part(results: list[dict[str, Any]], name: str) -> float:
    """Median over the steps of the mean over ranks, in ms."""
    means = [np.mean([rank[name] for rank in r["per_rank"]], axis=0) for r in results]
    return float(1e3 * np.median(np.concatenate(means)))


def _print_report(
    kind: Kind, facts: dict[str, Any], tables: list[dict[str, Any]], options: argparse.Namespace
) -> None:
    print("\n".join(environment.lines(facts)))
    print(f"# {facts['mpi']}; {options.threads} BLAS thread(s) per rank; float32, Adam")
    print(f"# {kind.name} scaling, fixed {kind.fixed}; {options.repeats} runs of {options.steps} "
          f"steps per point in random order, {options.warmup} steps of warm-up each")  # fmt: skip
    print(
        "# step = max over ranks; [95 % interval of the median]; base: the same program on 1 rank"
    )
    for table in tables:
        model = table["model"]
        print(f"\n{model}: {CASES[model].title}")
        print(f"{'ranks':>5} {'batch':>6}  {'step ms':<25}{'speed-up':>9}  {'efficiency':<22}"
              f"{'exposed ms':>11}{'samples/s':>11}{'loss vs 1':>11}")  # fmt: skip
        for row in table["rows"]:
            print(_line(row))


def _line(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    least, most = row["efficiency_interval"]
    step = f"{row['median']:.2f} [{low:.2f}, {high:.2f}]"
    efficiency = f"{row['efficiency']:.2f} [{least:.2f}, {most:.2f}]"
    note = "  oversubscribed: more ranks than cores" if row["oversubscribed"] else ""
    return (
        f"{row['ranks']:>5} {row['global_batch']:>6}  {step:<25}{row['speedup']:>9.2f}  "
        f"{efficiency:<22}{row['exposed']:>11.2f}{row['samples_per_second']:>11.0f}"
        f"{row['loss_difference']:>11.0e}{note}"
    )


# -- command line -------------------------------------------------------------------------


def _check_batches(kind: Kind, options: argparse.Namespace) -> None:
    for model in options.models:
        for p in options.ranks:
            batch = kind.batch(CASES[model], p, options.batch)
            if batch < p:
                raise PointError(f"a batch of {batch} cannot be divided among {p} ranks")


def _options(kind: Kind, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=f"{kind.name.capitalize()} scaling of a data-parallel training step on this "
        f"machine: fixed {kind.fixed}, more and more ranks."
    )
    parser.add_argument("--models", type=_models, default=["mlp", "cnn"], metavar="mlp,cnn")
    parser.add_argument("--ranks", type=_ranks, default=[1, 2], metavar="1,2")
    parser.add_argument("--batch", type=_positive, help=f"{kind.fixed} (default: per model)")
    parser.add_argument("--steps", type=_positive, default=40, help="timed steps of a run")
    parser.add_argument("--warmup", type=_positive, default=10, help="steps that are not timed")
    parser.add_argument("--repeats", type=_positive, default=3, help="runs of every point")
    parser.add_argument("--threads", type=_positive, default=1, help="BLAS threads of a rank")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the runs")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(arguments)


def _models(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown model {unknown[0]!r}; known: {', '.join(CASES)}")
    return names


def _ranks(text: str) -> list[int]:
    """Numbers of ranks in ascending order; 1, the base, is always among them."""
    return sorted({1, *(_positive(word) for word in text.split(","))})


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number
