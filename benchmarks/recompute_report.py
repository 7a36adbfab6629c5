"""Recompute the figures of a scaling report from the raw samples, without the code that made it.

Reads ``runs.jsonl`` and the HDF5 files of a study with h5py and NumPy only, recomputes every number
of ``report.json``, and lists those that differ. Fits are recomputed as far as they can be told
apart from a search: sums of squares, AICc, weights, that no neighbour of the parameters is better,
that the ends of their intervals raise the sum of squares by ``t^2 s^2``, and the held-out scale.

    python benchmarks/recompute_report.py runs/scaling/mystudy
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from recompute_fits import check_fits
from recompute_samples import Checker, bootstrap, load, medians, order_interval

EXPOSED = "exposed communication"


def check_point(check: Checker, row: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    """All figures of a point but its efficiency."""
    place, point, facts = row["name"], runs[0]["point"], runs[0]["facts"]
    ranks, batch = point["ranks"], point["batch"]
    same = {
        "sweep": point["sweep"],
        "variant": point["variant"],
        "control": point["control"],
        "ranks": ranks,
        "batch": batch,
        "local_batch": [batch // ranks, math.ceil(batch / ranks)],
        "repetitions": len(runs),
        "warmup": runs[0]["warmup"],
        "gpus": ranks if facts["device"] == "gpu" else 0,
        "oversubscribed": any(run["facts"]["oversubscribed"] for run in runs),
    }
    for key in ("nodes", "cores", "threads", "device", "parameters", "gradient_bytes", "flops"):
        same[key] = facts[key]
    for key, value in same.items():
        check(f"{place}: {key}", row[key], value)
    _check_times(check, row, runs)
    _check_communication(check, row, runs)
    _check_phases(check, row, runs)


def _check_times(check: Checker, row: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    place = row["name"]
    steps = np.concatenate([run["seconds"].max(axis=0) for run in runs])
    own = medians(runs)
    enough = len(own) >= 6
    low, high, level = order_interval(own if enough else steps)
    check(f"{place}: level of the median", row["median"]["level"], level)
    if not enough and low is not None and high is not None:
        low, high = min(low, own.min()), max(high, own.max())
    check(f"{place}: steps", row["steps"], len(steps))
    for k, value in enumerate(own):
        check(f"{place}: median of run {k}", row["medians"][k], float(value))
    check(f"{place}: median", row["median"]["value"], float(np.median(own)))
    check(f"{place}: median low", row["median"]["low"], low and float(low))
    check(f"{place}: median high", row["median"]["high"], high and float(high))
    check(f"{place}: basis", row["median"]["basis"], "repetitions" if enough else "steps")
    check(f"{place}: mean", row["mean"], float(steps.mean()))
    for key, share, least in (("p95", 0.95, 20), ("p99", 0.99, 100)):
        expected = float(np.quantile(steps, share)) if len(steps) >= least else None
        check(f"{place}: {key}", row[key], expected)
    work = [run["seconds"] - run["phases"].get(EXPOSED, 0.0) for run in runs]
    for key, parts in (("imbalance", [run["seconds"] for run in runs]), ("work_imbalance", work)):
        joined = np.concatenate(parts, axis=1)
        ratio = joined.max(axis=0).sum() / joined.mean(axis=0).sum()
        check(f"{place}: {key}", row[key], float(ratio))
    batch, facts = runs[0]["point"]["batch"], runs[0]["facts"]
    check(f"{place}: samples/s", row["samples_per_second"], float(batch / steps.mean()))
    rate = facts["flops"] / steps.mean() if facts["flops"] else None
    check(f"{place}: FLOP/s", row["flops_per_second"], rate and float(rate))
    share = None
    if rate and all(run["facts"]["peak_flops"] for run in runs):
        peaks = [run["facts"]["peak_flops"] for run in runs]
        spent = [run["seconds"].max(axis=0).sum() for run in runs]
        possible = row["ranks"] * np.dot(peaks, spent)
        share = float(facts["flops"] * len(steps) / possible)
    check(f"{place}: share of the peak", row["peak_share"], share)


def _check_communication(check: Checker, row: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    place, ranks = row["name"], row["ranks"]
    under_way = np.concatenate([run["communication"] for run in runs], axis=1).mean()
    shapes = [run["phases"].get(EXPOSED, np.zeros_like(run["seconds"])) for run in runs]
    exposed = np.concatenate(shapes, axis=1).mean()
    check(f"{place}: communication", row["communication"], float(under_way))
    check(f"{place}: exposed", row["exposed"], float(exposed))
    check(f"{place}: hidden", row["hidden"], float(max(under_way - exposed, 0.0)))
    sent = runs[0]["facts"]["gradient_bytes"]
    algbw = None
    if ranks > 1 and row["control"] != "communication off" and under_way > 0 and sent > 0:
        algbw = float(sent / under_way)
    check(f"{place}: algbw", row["algbw"], algbw)
    check(f"{place}: busbw", row["busbw"], algbw and algbw * 2 * (ranks - 1) / ranks)


def _check_phases(check: Checker, row: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    place, found = row["name"], row["phases"]
    seconds = np.concatenate([run["seconds"] for run in runs], axis=1)
    step = float(seconds.max(axis=0).mean())
    expected = {}
    named = np.zeros_like(seconds)
    for name in runs[0]["phases"]:
        part = np.concatenate([run["phases"][name] for run in runs], axis=1)
        expected[name] = float(part.mean())
        named += part
    other = float(np.clip(seconds - named, 0, None).mean())
    expected["other"] = expected.get("other", 0.0) + other
    expected["imbalance"] = float((seconds.max(axis=0) - seconds).mean())
    check(f"{place}: names of phases", sorted(found["rows"]), sorted(expected))
    for name, value in expected.items():
        check(f"{place}: phase {name}", found["rows"].get(name), value)
    check(f"{place}: sum of phases", found["sum"], sum(expected.values()))
    check(f"{place}: step of phases", found["step"], step)
    check(f"{place}: error of the sum", found["error"], sum(expected.values()) / step - 1)
    check.holds(f"{place}: phases miss the step by 2 % or more", abs(found["error"]) < 0.02)


def check_efficiency(
    check: Checker, row: dict[str, Any], runs: list[dict[str, Any]], base: list[dict[str, Any]]
) -> None:
    place, found = f"{row['name']}: efficiency", row["efficiency"]
    if row["sweep"] == "model":
        check(place, found, None)
        return
    check(f"{place}, level", found["level"], 0.95)
    if runs is base:
        ends = [found["value"], found["low"], found["high"]]
        check(place, ends, [1.0, 1.0, 1.0])
        return
    p0, b0 = base[0]["point"]["ranks"], base[0]["point"]["batch"]
    ideal = (p0 / row["ranks"]) * (row["batch"] / b0)
    first, second = medians(base), medians(runs)
    value = ideal * np.median(first) / np.median(second)
    check(place, found["value"], float(value))
    low = high = None
    if min(len(first), len(second)) >= 6:
        above, below = bootstrap(first, second)
        low, high = map(float, np.quantile(ideal * above / below, [0.025, 0.975]))
    check(f"{place}, low", found["low"], low)
    check(f"{place}, high", found["high"], high)


def check_controls(check: Checker, report: dict[str, Any], runs: dict[str, Any]) -> None:
    for row in report["controls"]:
        place = f"{row['point']}, {row['control']}"
        off = f"{row['point']}-{row['control'].replace(' ', '-')}"
        first, second = medians(runs[row["point"]]), medians(runs[off])
        check(f"{place}: with", row["with"], float(np.median(first)))
        check(f"{place}: without", row["without"], float(np.median(second)))
        check(f"{place}: runs", row["repetitions"], [len(first), len(second)])
        point = runs[off][0]["point"]
        at = [row["ranks"], row["batch"], row["difference"]["level"]]
        check(f"{place}: ranks, batch, level", at, [point["ranks"], point["batch"], 0.95])
        difference = float(np.median(first) - np.median(second))
        check(f"{place}: difference", row["difference"]["value"], difference)
        check(f"{place}: share", row["share"], difference / float(np.median(first)), 1e-6)
        low = high = None
        if min(len(first), len(second)) >= 6:
            one, other = bootstrap(first, second)
            low, high = map(float, np.quantile(one - other, [0.025, 0.975]))
        check(f"{place}: low", row["difference"]["low"], low)
        check(f"{place}: high", row["difference"]["high"], high)


def check_roofline(check: Checker, report: dict[str, Any], runs: dict[str, Any]) -> None:
    for row in report["roofline"]["points"]:
        place, repeated = f"roofline of {row['name']}", runs[row["name"]]
        facts, ranks = repeated[0]["facts"], repeated[0]["point"]["ranks"]
        step = np.concatenate([run["seconds"].max(axis=0) for run in repeated]).mean()
        moved = 3.0 * facts["gradient_bytes"]
        intensity = facts["flops"] / ranks / moved
        check(f"{place}: ranks", row["ranks"], ranks)
        crowded = any(run["facts"]["oversubscribed"] for run in repeated)
        check(f"{place}: oversubscribed", row["oversubscribed"], crowded)
        check(f"{place}: rate", row["flops_per_second"], float(facts["flops"] / ranks / step))
        check(f"{place}: bytes", row["bytes"], moved)
        check(f"{place}: intensity", row["intensity"], intensity)
        for key in ("peak_flops", "memory_bandwidth"):
            check(f"{place}: {key}", row[key], float(facts[key]))
        bound = min(facts["peak_flops"], intensity * facts["memory_bandwidth"])
        check(f"{place}: roof", row["bound"], float(bound))


def recompute(directory: Path, report: dict[str, Any]) -> Checker:
    """Check a report against the samples of its study."""
    check = Checker()
    runs, refused = load(directory)
    check("good runs", report["good_runs"], sum(map(len, runs.values())))
    told = sorted((run["point"], run["repeat"]) for run in report["refused"])
    check("refused runs", told, sorted(refused))
    seen = [row["name"] for series in report["series"] for row in series["points"]]
    check("points", sorted(seen), sorted(runs))
    for series in report["series"]:
        names = [row["name"] for row in series["points"]]
        smallest = min(names, key=lambda n: (runs[n][0]["point"]["ranks"],
                                             runs[n][0]["point"]["batch"], n))  # fmt: skip
        check(f"{series['name']}: base", series["base"], smallest)
        first = runs[smallest][0]["point"]
        kept = {
            "batch": float(first["batch"]),
            "batch_per_rank": first["batch"] / first["ranks"],
            "ranks": float(first["ranks"]),
        }
        for key in kept.keys() & series.keys():
            check(f"{series['name']}: {key}", series[key], kept[key])
        for row in series["points"]:
            check_point(check, row, runs[row["name"]])
            check_efficiency(check, row, runs[row["name"]], runs[smallest])
        if series["fits"] is not None:
            chosen = [runs[name] for name in names if name not in series["fits"]["left_out"]]
            columns = [
                (run["point"]["ranks"], float(time), run["point"]["batch"])
                for repeated in chosen
                for run, time in zip(repeated, medians(repeated), strict=True)
            ]
            sent = max((r["facts"]["gradient_bytes"] for rs in chosen for r in rs), default=0)
            check_fits(check, series["name"], series["fits"], [(*c, sent) for c in columns])
    columns = [
        (run["point"]["ranks"], float(np.median(run["communication"].mean(axis=0))), 1.0,
         run["facts"]["gradient_bytes"])
        for name, repeated in runs.items()
        for run in repeated
        if run["point"]["ranks"] > 1 and run["point"]["control"] == "none"
        and name not in report["communication"]["left_out"]
    ]  # fmt: skip
    columns = [column for column in columns if column[1] > 0 and column[3] > 0]
    check_fits(check, "allreduce", report["communication"], columns)
    check_controls(check, report, runs)
    check_roofline(check, report, runs)
    return check


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("directory", type=Path, help="of the study")
    parser.add_argument("--report", type=Path, help="default: DIRECTORY/report/report.json")
    arguments = parser.parse_args()
    path = arguments.report or arguments.directory / "report" / "report.json"
    check = recompute(arguments.directory, json.loads(path.read_text()))
    print("\n".join(check.wrong))
    print(f"{check.checked} figures of {path} recomputed, {len(check.wrong)} differ")
    return 1 if check.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
