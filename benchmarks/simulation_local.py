"""Predicted steps against a study that was measured on this machine.

    python benchmarks/simulation_local.py STUDY_DIRECTORY [--json FILE]

STUDY_DIRECTORY is what `hpcad scaling run` has written: strong or weak sweeps over ranks of one
machine. The simulation is calibrated by measurements of its own, none of which is a point of the
study with several ranks: products, memory and reductions with as many ranks as the study has
(simulation_local_worker.py, which trains nothing; reductions follow products that take as long as a
step of one rank), and the step of one rank with each batch that a rank has in the study. What is
predicted are the steps of the points with more than one rank; those of one rank are printed, and
not counted.

Where ranks share cores, that is a part of the machine's description: what is left of products and
memory for each rank when so many compute at a time. A rank reduces with the core that it computes
with, so reductions hide behind nothing (`steals` is 1); and the ranks of a node make progress with
all messages of a step together, so these are taken as one, with one latency. The slowest rank is in
what was measured, of products and of reductions alike, so the machine has no noise besides.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from environment import describe, lines, write_json
from scaling_launch import OPEN_MPI, mpirun

from hpcad.models import REGISTRY
from hpcad.parallel.gradients.fit import fit_line
from hpcad.scaling.simulation.captured import captured_job
from hpcad.scaling.simulation.machine import Collectives, Device, Level, Machine, Sharing
from hpcad.scaling.simulation.measured import read_study
from hpcad.scaling.simulation.prediction import Prediction, Request
from hpcad.scaling.simulation.simulate import simulate
from hpcad.scaling.study.orders import Orders
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples, read_samples
from hpcad.training.job import Job

REPEATS = 3
TIMEOUT = 120
LONGEST = 0.05  # seconds of computing before a reduction that is measured
_ALL = (1e18, 1e18)  # bytes: all gradients are one message
_WORKER = Path(__file__).with_name("simulation_local_worker.py")
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Calibrate, predict, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", metavar="STUDY_DIRECTORY", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs = [run for run in read_study(options.study) if is_counted(run)]
    orders = orders_of(options.study)
    print(*lines(describe()), f"# study {options.study.name}: {len(runs)} runs", sep="\n")
    points = sorted({run.point for run in runs}, key=lambda p: (p.sweep, p.ranks))
    batches = sorted({point.batch // point.ranks for point in points})
    steps = one_rank(orders, batches)
    found: list[dict[str, Any]] = []
    for ranks in sorted({1, *(p.ranks for p in points)}):
        lengths = [steps[p.batch // p.ranks] for p in points if p.ranks == ranks]
        length = min(float(np.mean(lengths)) if lengths else steps[batches[0]], LONGEST)
        found.append(micro(orders, ranks, runs, length, found[0]["flops"] if found else None))
    machine = machine_of(found, max(int(run.facts["cores"]) for run in runs))
    job = Job.from_dict(orders.job, {kind: entry.config for kind, entry in REGISTRY.items()})
    rows = []
    for point in points:
        measured = [float(np.median(run.step_seconds)) for run in runs if run.point == point]
        rows.append(_row(point, measured, predicted(job, machine, point, steps)))
    report(rows)
    if options.json is not None:
        calibration = {"one_rank_seconds": steps, "micro": found}
        summary = {"median_error": median_error(rows), "calibration": calibration}
        write_json(options.json, describe() | summary | {"rows": rows})


def orders_of(study: Path) -> Orders:
    """The orders of a run that counts: references are not pinned to cores."""
    found = sorted((study / "orders").glob("*.json"))
    return Orders.read(next(path for path in found if not path.name.startswith("reference-")))


def is_counted(run: Samples) -> bool:
    """Whether a run is a plain point of a sweep over ranks."""
    point = run.point
    return point.sweep in ("strong", "weak") and point.control == "none" and not point.variant


# -- calibration -----------------------------------------------------------------------------------


def one_rank(orders: Orders, batches: Sequence[int]) -> dict[int, float]:
    """Seconds of a step of one rank by its batch."""
    found: dict[int, list[Samples]] = {batch: [] for batch in batches}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(REPEATS):
            for batch in batches:
                file = Path(folder) / f"{batch}-{repeat}.h5"
                alone = replace(
                    orders,
                    point=Point("batch", 1, batch),
                    repeat=repeat,
                    file=str(file),
                    roofs=False,
                )
                alone.write(file.with_suffix(".json"))
                words = ["-m", "hpcad", "scaling", "point", str(file.with_suffix(".json"))]
                start(1, words, orders.threads)
                found[batch].append(read_samples(file))
    return {
        batch: float(np.median([np.median(run.step_seconds) for run in runs]))
        for batch, runs in found.items()
    }


def micro(
    orders: Orders, ranks: int, runs: Sequence[Samples], length: float, flops: float | None
) -> dict[str, Any]:
    """Rates and reductions with so many ranks: medians over repetitions.

    Parameters
    ----------
    length : float
        Seconds that one rank computes before a reduction: a step's.
    flops : float or None
        Per second, of one rank alone, where that is known.
    """
    nbytes = max(int(run.facts["gradient_bytes"]) for run in runs)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(REPEATS):
            out = Path(folder) / f"{repeat}.json"
            words = [str(_WORKER), "--threads", str(orders.threads), "--bytes", str(nbytes)]
            words += ["--seconds", str(length), *(["--flops", str(flops)] if flops else [])]
            words += ["--out", str(out), *(["--pin"] if orders.pin else [])]
            start(ranks, words, orders.threads)
            found.append(json.loads(out.read_text()))
    sizes = [nbytes for nbytes, _ in found[0]["reductions"]]
    times = [[seconds for _, seconds in each["reductions"]] for each in found]
    return {
        "ranks": ranks,
        "flops": float(np.median([each["flops"] for each in found])),
        "memory_bandwidth": float(np.median([each["memory_bandwidth"] for each in found])),
        "length": length,
        "computing": float(np.median([each["computing"] for each in found])),
        "bytes": sizes,
        "seconds": np.median(times, axis=0).tolist() if sizes else [],
    }


def start(ranks: int, words: Sequence[str], threads: int) -> None:
    """Run this Python on so many ranks, with a hard end."""
    environment = {**OPEN_MPI, **os.environ, **dict.fromkeys(_THREADS, str(threads))}
    command = [mpirun(), "-n", str(ranks), sys.executable, *words]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def machine_of(found: Sequence[dict[str, Any]], cores: int) -> Machine:
    """This machine, as it was measured."""
    alone = found[0]

    def left(key: str) -> list[float]:
        """What the slowest rank has of a rate, which is no more than its share of the cores."""
        factors = []
        for each in found:
            slowest = each["length"] / each["computing"] * alone["computing"] / alone["length"]
            share = min(slowest, 1.0, cores / each["ranks"])
            rest = each[key] / alone[key] * alone["flops"] / each["flops"]
            factors.append(share if key == "flops" else share * min(rest, 1.0))
        return factors

    table = []
    for each in found[1:]:
        fit = fit_line(each["bytes"], each["seconds"])
        table.append([float(each["ranks"]), fit.alpha, 1 / fit.beta])
    alpha, bandwidth = (table[0][1], table[0][2]) if table else (1e-6, 1e9)
    return Machine(
        title="this machine",
        device=Device(alone["flops"], alone["memory_bandwidth"]),
        levels={"node": Level(latency=alpha, bandwidth=bandwidth, measured=table)},
        ranks_per_node=max(each["ranks"] for each in found),
        sharing=Sharing(
            ranks=[each["ranks"] for each in found],
            flops=left("flops"),
            memory_bandwidth=left("memory_bandwidth"),
        ),
        collectives=Collectives(algorithms=["hierarchical"], steals=1.0),
        measured=True,
    )


# -- prediction ------------------------------------------------------------------------------------


def predicted(job: Job, machine: Machine, point: Point, steps: dict[int, float]) -> Prediction:
    """The step of a point, from that of one rank with the same batch."""
    batch = point.batch // point.ranks
    workload = captured_job(job, REGISTRY[job.model.kind], batch)
    workload = replace(workload, measured_seconds=steps[batch], batch=batch)
    return simulate(workload, machine, [point.ranks], Request(batch=batch, bucket_bytes=_ALL))[0]


def _row(point: Point, measured: Sequence[float], found: Prediction) -> dict[str, Any]:
    middle = float(np.median(measured))
    return {
        "sweep": point.sweep,
        "ranks": point.ranks,
        "batch": point.batch,
        "measured": middle,
        "repeats": len(measured),
        "spread": (max(measured) - min(measured)) / middle,
        "predicted": found.step,
        "error": found.step / middle - 1,
        "compute": found.compute,
        "exposed": found.exposed,
    }


def median_error(rows: Sequence[dict[str, Any]]) -> float:
    """Of the points with more than one rank."""
    return float(np.median([abs(row["error"]) for row in rows if row["ranks"] > 1]))


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Print the table and the line that counts."""
    heads = ("sweep", "ranks", "batch", "measured ms", "spread", "predicted ms", "error")
    print("\n" + "".join(f"{head:>13}" for head in (*heads, "compute ms", "exposed ms")))
    for row in rows:
        note = "  (one rank: calibration, not counted)" if row["ranks"] == 1 else ""
        print(
            f"{row['sweep']:>13}{row['ranks']:>13}{row['batch']:>13}{1e3 * row['measured']:>13.3f}"
            f"{100 * row['spread']:>11.1f} %{1e3 * row['predicted']:>13.3f}"
            f"{100 * row['error']:>+11.1f} %{1e3 * row['compute']:>13.3f}"
            f"{1e3 * row['exposed']:>13.3f}{note}"
        )
    counted = sum(row["ranks"] > 1 for row in rows)
    print(
        f"\nsimulation against local measurements: median error {100 * median_error(rows):.1f} % "
        f"of {counted} points with 2 ranks or more"
    )


if __name__ == "__main__":
    main()
