"""Data-parallel training on two ranks: hpcad against PyTorch's DistributedDataParallel (gloo).

    python benchmarks/data_parallel.py [--models mlp-large,gpt] [--rounds 15] [--json FILE]

One thread per rank, each rank bound to a core of its own. Every side is compared with itself in one
process, at the same batch per rank. Before anything is timed the losses of both sides are compared,
and the program ends with code 1 where they differ. benchmarks/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import environment
import numpy as np
from data_parallel_team import Plan, Team, TeamError
from interleaved import in_turn
from medians import ratio_interval
from step_cases import CASES

MODELS = ("mlp-large", "gpt")
SIDES = {"hpcad": "hpcad", "torch": "PyTorch"}
# Its defaults, then what its documentation names to make it faster: gradients that are born in the
# buckets; and buckets so small that reductions can start while there is something to hide them.
DDP: dict[str, dict[str, Any]] = {
    "DDP": {},
    "DDP, bucket views": {"gradient_as_bucket_view": True},
    "DDP, bucket views of 4 MB": {"gradient_as_bucket_view": True, "bucket_cap_mb": 4},
}
_COMPARED = 6  # steps; hpcad replays from the third on at the latest
_TOLERANCE = 1e-4


class DifferentLossesError(Exception):
    """The sides do not compute the same."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; return the exit code."""
    options = _options(arguments)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < options.ranks:
        print(f"data_parallel: {options.ranks} ranks need as many cores, but this process has "
              f"{len(cores)}", file=sys.stderr)  # fmt: skip
        return 2
    if importlib.util.find_spec("torch") is None:
        print("data_parallel: install torch (hpcad[bench])", file=sys.stderr)
        return 2
    facts = environment.describe() | {
        "torch": version("torch"), "ranks": options.ranks, "rounds": options.rounds,
        "steps": options.steps, "gemm_libraries": options.blas,
    }  # fmt: skip
    print("\n".join(environment.lines(facts)))
    print(f"# PyTorch {facts['torch']}; {options.ranks} ranks, each with one thread on a core of "
          f"its own; {options.rounds} rounds of {options.steps} timed steps, in turn")  # fmt: skip
    found = []
    with tempfile.TemporaryDirectory() as cache:  # choices among BLAS libraries are this run's
        os.environ.setdefault("HPCAD_CACHE_DIR", cache)
        os.environ["HPCAD_BLAS"] = options.blas
        for name in options.models:
            print(f"\n{name}: {CASES[name].title}", flush=True)
            try:
                found.append(measure(name, cores[: options.ranks], options))
            except (TeamError, DifferentLossesError) as error:
                print(f"data_parallel: {error}", file=sys.stderr)
                return 1
            print_result(found[-1])
            if options.json:
                environment.write_json(options.json, {"environment": facts, "results": found})
    return 0


def measure(name: str, cores: list[int], options: argparse.Namespace) -> dict[str, Any]:
    """Measure one model.

    Returns
    -------
    dict
        ``rows``, each with its ``samples`` (ms, rounds of steps), ``exposed`` (ms), and
        ``efficiency`` and ``apart_over_ranks`` with their 95 % intervals where it has ranks.
    """
    with ExitStack() as stack:
        teams: dict[str, tuple[list[Team], list[Team]]] = {}
        for side, title in SIDES.items():
            # One after the other: the first tries the BLAS libraries, alone.
            alone = []
            for core in cores:
                team = stack.enter_context(Team(Plan(f"{title}, one process", side, [core]), name))
                team.ask("losses", steps=_COMPARED)
                alone.append(team)
            ways = {"": {"compiled": True}} if side == "hpcad" else DDP
            plans = [Plan(f"{title} {way}".strip(), side, cores, how) for way, how in ways.items()]
            teams[side] = alone, [stack.enter_context(Team(plan, name)) for plan in plans]
        _compare([team for _, together in teams.values() for team in together])
        turns, titles = _turns(teams, options)
        seen = in_turn(turns, options.rounds, options.warmup)
    return {"model": name, "ranks": len(cores), "rows": _rows(titles, seen)}


def _compare(teams: list[Team]) -> None:
    """Take the first steps; the mean of the ranks' losses must be the same for all."""
    losses = []
    for team in teams:
        answers = team.ask("losses", steps=_COMPARED)
        losses.append(np.mean([answer["losses"] for answer in answers], axis=0))
        worst = float(np.abs(losses[-1] / losses[0] - 1).max())
        if not worst <= _TOLERANCE:
            raise DifferentLossesError(
                f"losses of {team.plan.name} differ from those of {teams[0].plan.name} by "
                f"{worst:.1e}: {losses[-1].tolist()}, {losses[0].tolist()}"
            )


Turn = Callable[[int], list[float]]


def _turns(
    teams: dict[str, tuple[list[Team], list[Team]]], options: argparse.Namespace
) -> tuple[list[Turn], list[tuple[str, str, str]]]:
    """What is measured in a round, and side, kind and name of each."""
    repeats = options.steps
    turns: list[Turn] = []
    titles = []
    for side, (alone, together) in teams.items():
        turns += [_alone(alone, repeats), _apart(alone, repeats)]
        titles += [(side, "one", f"{SIDES[side]}, 1 process")]
        titles += [(side, "apart", f"{SIDES[side]}, {len(alone)} processes apart")]
        for team in together:
            turns.append(_together(team, repeats))
            titles.append((side, "ranks", f"{team.plan.name}, {team.plan.ranks} ranks"))
    return turns, titles


def _alone(teams: list[Team], repeats: int) -> Turn:
    """One process while the others sleep, on every core in its turn."""

    def turn(number: int) -> list[float]:
        (answer,) = teams[number % len(teams)].ask(
            "turn", start=number * (repeats + 1), repeats=repeats
        )
        return _slowest([answer])

    return turn


def _apart(teams: list[Team], repeats: int) -> Turn:
    """All of them at the same time, though they have nothing to do with one another."""

    def turn(number: int) -> list[float]:
        for team in teams:
            team.tell("turn", start=number * (repeats + 1), repeats=repeats)
        return _slowest([team.answers()[0] for team in teams])

    return turn


def _together(team: Team, repeats: int) -> Turn:
    def turn(number: int) -> list[float]:
        return _slowest(team.ask("turn", start=number * (repeats + 1), repeats=repeats))

    return turn


def _slowest(answers: list[dict[str, Any]]) -> list[float]:
    """Each step's time on the slowest rank, then its exposed communication there, in ms."""
    milliseconds = np.array([answer["milliseconds"] for answer in answers])
    exposed = np.array([answer["exposed"] for answer in answers])
    return [*milliseconds.max(0).tolist(), *exposed.mean(0).tolist()]


def _rows(titles: list[tuple[str, str, str]], seen: np.ndarray) -> list[dict[str, Any]]:
    steps = seen.shape[2] // 2
    times, exposed = seen[:, :, :steps], seen[:, :, steps:]
    place = {(side, kind): k for k, (side, kind, _) in enumerate(titles) if kind != "ranks"}
    rows = []
    for k, (side, kind, name) in enumerate(titles):
        low, high = np.percentile(times[k], [10, 90])
        row: dict[str, Any] = {
            "name": name,
            "side": side,
            "kind": kind,
            "median": float(np.median(times[k])),
            "p10": float(low),
            "p90": float(high),
            "samples": times[k].tolist(),
        }
        if kind != "one":
            row["efficiency"] = ratio_interval(times[place[side, "one"]], times[k])
        if kind == "ranks":
            row["apart_over_ranks"] = ratio_interval(times[place[side, "apart"]], times[k])
            row["over_hpcad"] = ratio_interval(times[k], times[_first(titles, "ranks")])
            if side == "hpcad":
                row["exposed"] = exposed[k].tolist()
                row["exposed_share"] = float(np.median(exposed[k]) / np.median(times[k]))
        rows.append(row)
    return rows


def _first(titles: list[tuple[str, str, str]], kind: str) -> int:
    return next(k for k, title in enumerate(titles) if title[1] == kind)


# -- output -----------------------------------------------------------------------------------


def print_result(result: dict[str, Any]) -> None:
    """Print the table of one model."""
    print(f"{'':<40} {'ms':>8} {'10 %':>8} {'90 %':>8}  {'efficiency (95 %)':<22} "
          f"{'exposed':>8}  time / hpcad's (95 %)")  # fmt: skip
    for row in result["rows"]:
        numbers = "".join(f" {row[key]:>8.2f}" for key in ("median", "p10", "p90"))
        share = f"{row['exposed_share']:.1%}" if "exposed_share" in row else ""
        print(f"{row['name']:<40}{numbers}  {_interval(row.get('efficiency')):<22} {share:>8}  "
              f"{_interval(row.get('over_hpcad'))}".rstrip())  # fmt: skip


def _interval(found: Sequence[float] | None) -> str:
    return "{:.3f} ({:.3f} .. {:.3f})".format(*found) if found else ""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=_models, default=list(MODELS), metavar="mlp-large,gpt")
    parser.add_argument("--ranks", type=_positive, default=2)
    parser.add_argument("--rounds", type=_positive, default=15)
    parser.add_argument("--steps", type=_positive, default=5, help="timed steps in a turn")
    parser.add_argument("--warmup", type=_positive, default=2, help="rounds that are not counted")
    parser.add_argument(
        "--blas", default="numpy", help="libraries that hpcad chooses from, as HPCAD_BLAS takes "
        "them; default: NumPy's own, so that all ranks and the process alone use the same",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(arguments)


def _models(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in CASES or CASES[name].title.startswith("CNN"):
            raise argparse.ArgumentTypeError(f"unknown: {name!r}; known: mlp, mlp-large, lstm, "
                                             "gpt, gpt-small")  # fmt: skip
    return names


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
