"""Predicted scaling against results that others have published.

    python benchmarks/simulation_published.py [--json FILE]

Each file of benchmarks/simulation_inputs is one result with what the simulation was given; where
every number comes from stands beside it, and the rules for what nobody has published in the README
there. Nothing is fitted to the results. The last columns say what efficiency would be predicted if
an input were a quarter smaller or larger, for the input that matters most; all are in the JSON.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from environment import describe, write_json

from hpcad.scaling.simulation.described import workload_from
from hpcad.scaling.simulation.machine import Machine
from hpcad.scaling.simulation.machine_file import machine_from, read_table
from hpcad.scaling.simulation.prediction import Prediction
from hpcad.scaling.simulation.simulate import simulate
from hpcad.scaling.simulation.workload import Work, Workload
from hpcad.training.job_fields import bounded, build

INPUTS = Path(__file__).parent / "simulation_inputs"
CHANGE = 0.25


@dataclass(frozen=True)
class Published:
    """A result: samples per second and rank, against that of `base_ranks`."""

    ranks: int
    efficiency: float
    source: str
    base_ranks: int = 1


@dataclass(frozen=True)
class Known:
    """Another result of the same experiment, from which the step of one device is found."""

    ranks: int
    seconds: float | None = bounded(None, above=0)
    efficiency: float | None = bounded(None, above=0, below=1)
    reduction: str | None = None


@dataclass(frozen=True)
class Case:
    """A file of inputs."""

    name: str
    title: str
    published: Published
    workload: Workload
    machine: Machine
    known: Known | None


def load_case(path: Path) -> Case:
    """Read a file of inputs."""
    table, place = read_table(path, "file of inputs")

    def within(section: str) -> Callable[[tuple[str, ...]], str]:
        return lambda keys: place((section, *keys))

    known = build(Known, table["known"], ("known",), place) if "known" in table else None
    return Case(
        name=path.stem,
        title=table["title"],
        published=build(Published, table["published"], ("published",), place),
        workload=workload_from(table["workload"], within("workload"), path.parent),
        machine=machine_from(table["machine"], within("machine")),
        known=known,
    )


def predict(case: Case) -> tuple[float, Prediction]:
    """Efficiency as published, and the step at so many ranks."""
    ranks, base = case.published.ranks, case.published.base_ranks
    at_base, found = simulate(resolved(case), case.machine, [base, ranks])
    return at_base.step / found.step, found


def resolved(case: Case) -> Workload:
    """The workload with the step of one device, which may follow from what is known."""
    if case.known is None:
        return case.workload
    low, high = 1e-4, 1e3
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if _too_long(case, middle) else (middle, high)
    return replace(case.workload, measured_seconds=high)


def _too_long(case: Case, seconds: float) -> bool:
    known = case.known
    assert known is not None
    workload = replace(case.workload, measured_seconds=seconds)
    if known.reduction is not None:
        workload = replace(workload, reduction=known.reduction)  # type: ignore[arg-type]
    found = simulate(workload, case.machine, [known.ranks])[0]
    if known.seconds is not None:
        return found.step > known.seconds
    return found.efficiency > (known.efficiency or 0)


# -- what if an input were another -----------------------------------------------------------------


def variants(case: Case, factor: float) -> dict[str, Case]:
    """The case with one input changed at a time."""
    machine = case.machine
    changed = {}
    for name, level in machine.levels.items():
        wider = replace(level, bandwidth=level.bandwidth * factor)
        changed[f"bandwidth of the {name}"] = {"levels": machine.levels | {name: wider}}
    later = {n: replace(v, latency=v.latency * factor) for n, v in machine.levels.items()}
    over = replace(machine.collectives, overhead=machine.collectives.overhead * factor)
    changed["latencies"] = {"levels": later, "collectives": over}
    changed["noise"] = {"noise": replace(machine.noise, sigma=machine.noise.sigma * factor)}
    cases = {name: replace(case, machine=replace(machine, **new)) for name, new in changed.items()}
    workload = case.workload
    heavier = Work(workload.backward.flops * factor, workload.backward.nbytes)
    cases["backward over forward"] = replace(case, workload=replace(workload, backward=heavier))
    if case.known is None and workload.measured_seconds is not None:
        longer = replace(workload, measured_seconds=workload.measured_seconds * factor)
        cases["step of one device"] = replace(case, workload=longer)
    return cases


def sensitivity(case: Case) -> dict[str, tuple[float, float]]:
    """Efficiency with each input a quarter smaller, and a quarter larger."""
    less, more = variants(case, 1 - CHANGE), variants(case, 1 + CHANGE)
    return {name: (predict(less[name])[0], predict(more[name])[0]) for name in less}


# -- output ----------------------------------------------------------------------------------------


def measure(case: Case) -> dict[str, Any]:
    """A row of the table."""
    efficiency, found = predict(case)
    return {
        "name": case.name,
        "title": case.title,
        "source": case.published.source,
        "ranks": case.published.ranks,
        "base_ranks": case.published.base_ranks,
        "published": case.published.efficiency,
        "predicted": efficiency,
        # Of the time of a step, which is what is predicted: 1 / efficiency.
        "error": case.published.efficiency / efficiency - 1,
        "dominant": found.dominant,
        "inputs": inputs(case),
        "prediction": found.to_dict(),
        "sensitivity": sensitivity(case),
    }


def inputs(case: Case) -> dict[str, Any]:
    """What was simulated; the sources stand in the file."""
    workload, machine = resolved(case), case.machine
    return {
        "file": f"simulation_inputs/{case.name}.toml",
        "step_seconds": workload.measured_seconds,
        "batch": workload.batch,
        "parameters": workload.parameters,
        "gradient_bytes": workload.gradient_bytes,
        "reduction": workload.reduction,
        "levels": {
            name: {"size": level.size, "latency": level.latency, "bandwidth": level.bandwidth}
            for name, level in machine.levels.items()
        },
        "overhead": machine.collectives.overhead,
        "algorithms": list(machine.collectives.algorithms),
        "sigma": machine.noise.sigma,
    }


def main() -> None:
    """Predict all, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [measure(load_case(path)) for path in sorted(INPUTS.glob("*.toml"))]
    print(
        f"{'published result':<58}{'published':>10}{'predicted':>10}{'step':>8}  "
        f"if an input were {100 * CHANGE:.0f} % less, or more"
    )
    for row in rows:
        name, (less, more) = max(
            row["sensitivity"].items(), key=lambda item: abs(item[1][1] - item[1][0])
        )
        print(
            f"{row['title']:<58}{100 * row['published']:>8.1f} %{100 * row['predicted']:>8.1f} %"
            f"{100 * row['error']:>+6.1f} %  {name}: {100 * less:.1f} %, {100 * more:.1f} %"
        )
    errors = [abs(row["error"]) for row in rows]
    print(
        f"\n{len(rows)} results; error of the step's time: "
        f"median {100 * statistics.median(errors):.1f} %, largest {100 * max(errors):.1f} %"
    )
    if options.json is not None:
        summary = {"median_error": statistics.median(errors), "largest_error": max(errors)}
        write_json(options.json, describe() | summary | {"rows": rows})


if __name__ == "__main__":
    main()
