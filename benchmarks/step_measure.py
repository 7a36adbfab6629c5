"""One case of step_time.py: the contenders checked against each other, tried, and timed in turn."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Any

import numpy as np
from interleaved import in_turn
from step_cases import Case
from step_contenders import contenders
from step_pool import Worker
from step_table import compare, rows_of

CHECKED_STEPS = 6  # hpcad.compile records two of them and replays the rest
TOLERANCE = 1e-4  # relative, between the losses of one step
CLOSE = 1.05  # in the trial: within that of the best of its family, a contender stays,
KEPT = 2  # if it is among so many


class DifferentWorkError(RuntimeError):
    """Two contenders do not compute the same losses."""


def measure(
    name: str, case: Case, families: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Check, try and time the contenders of one case.

    Raises
    ------
    DifferentWorkError
        Losses differ.
    WorkerError
        A contender failed.
    """
    reference: list[float] = []
    tried: dict[str, float] = {}
    first: dict[str, list[float]] = {}
    field: list[Worker] = []
    worst = 0.0
    with ExitStack() as stack:
        for family in families:
            members = contenders(case, [family], options.blas)
            workers = [
                stack.enter_context(Worker(c, name, options.threads, options.clock))
                for c in members
            ]
            for worker in workers:
                answer = worker.ask("losses", steps=CHECKED_STEPS)
                losses, first[worker.name] = answer["losses"], answer["seconds"]
                reference = reference or losses
                worst = max(worst, require_same(losses, reference, worker.name))
            chosen, times = chosen_of(workers, options.trial)
            tried |= times
            field += chosen
            for worker in set(workers) - set(chosen):
                worker.close()
        samples, cores = timed(field, options)
        rows = rows_of([worker.contender for worker in field], samples)
        kinds = {w.name: found for w in field if (found := w.ask("profile", steps=10)["kinds"])}
        memory = {worker.name: worker.ask("memory") for worker in field}
    return {
        "model": name,
        "title": case.title,
        "largest_loss_difference": worst,
        "rows": rows,
        "cores": cores,
        "kinds": kinds,
        "memory": memory,
        "comparisons": compare(rows, samples),
        "losses": reference,
        "first_seconds": first,
        "trial_milliseconds": tried,
        "milliseconds": {
            worker.name: times for worker, times in zip(field, samples.tolist(), strict=True)
        },
    }


def require_same(losses: list[float], reference: list[float], name: str) -> float:
    """Return the largest relative difference of the losses to those of the first contender.

    Raises
    ------
    DifferentWorkError
        It is larger than :data:`TOLERANCE`, or a loss is no number.
    """
    a, b = np.array(losses), np.array(reference)
    with np.errstate(invalid="ignore"):  # inf - inf
        worst = float(np.max(np.abs(a - b) / np.abs(b)))
    if not worst <= TOLERANCE:  # NaN is refused, too
        raise DifferentWorkError(
            f"refused: the losses of {name} differ from those of the first contender by more than "
            f"{TOLERANCE:.0e}, so the two do not do the same work:\n{losses}\n{reference}"
        )
    return worst


def chosen_of(workers: list[Any], rounds: int) -> tuple[list[Any], dict[str, float]]:
    """The fastest of a family in a short trial, and the median times of all.

    Parameters
    ----------
    workers : list of Worker
    rounds : int
    """
    if len(workers) < 2:
        return workers, {}
    samples = in_turn([_turn_of(worker, 3, {}) for worker in workers], rounds, 1)
    medians = np.median(samples, axis=(1, 2))
    order = np.argsort(medians)
    limit = CLOSE * medians[order[0]]
    best = {int(k) for k in order[:KEPT] if medians[k] <= limit}
    chosen = [w for k, w in enumerate(workers) if k in best or w.contender.always]
    return chosen, {w.name: float(m) for w, m in zip(workers, medians, strict=True)}


def timed(
    workers: list[Worker], options: argparse.Namespace
) -> tuple[np.ndarray, dict[str, float]]:
    """Milliseconds, shape (workers, rounds, steps), and the mean number of busy cores of each."""
    busy: dict[str, list[float]] = {}
    turns = [_turn_of(worker, options.steps, busy) for worker in workers]
    samples = in_turn(turns, options.rounds, options.warmup)
    return samples, {name: float(np.median(values)) for name, values in busy.items()}


def _turn_of(worker: Any, repeats: int, busy: dict[str, list[float]]) -> Any:
    def turn(number: int) -> list[float]:
        start = CHECKED_STEPS + number * (repeats + 1)
        answer = worker.ask("turn", start=start, repeats=repeats)
        busy.setdefault(worker.name, []).append(answer["cores"])
        return answer["milliseconds"]

    return turn
