"""The tables of a report: of its points, phases, controls and roofs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpcad.scaling.report.fit_tables import communication_tables, series_fit_tables
from hpcad.scaling.report.table import (
    Table,
    interval,
    milliseconds,
    number,
    percent,
    scaled,
)

Report = dict[str, Any]
Row = dict[str, Any]


def tables(report: Report) -> list[Table]:
    """All tables, in the order in which they are shown; they read nothing but the report."""
    found = []
    for series in report["series"]:
        found += [_places(series), _times(series), _rates(series), _phases(series)]
        found += series_fit_tables(series)
    found += [_controls(report)] if report["controls"] else []
    found += communication_tables(report["communication"])
    found += [_roofline(report)] if report["roofline"]["points"] else []
    return found


def _make(title: str, rows: list[Row], columns: dict[str, Callable[[Row], str]]) -> Table:
    return Table(title, list(columns), [[show(row) for show in columns.values()] for row in rows])


def _name(row: Row) -> str:
    """A point, with the label that it must never be without."""
    return row["name"] + (" (oversubscribed)" if row["oversubscribed"] else "")


def _places(series: Row) -> Table:
    def batch(row: Row) -> str:
        low, high = row["local_batch"]
        return str(low) if low == high else f"{low} to {high}"

    return _make(
        f"{series['name']}: what was run",
        series["points"],
        {
            "point": _name,
            "nodes": lambda row: number(row["nodes"]),
            "ranks": lambda row: number(row["ranks"]),
            "GPUs": lambda row: number(row["gpus"]),
            "device": lambda row: row["device"],
            "cores/host": lambda row: number(row["cores"]),
            "threads/rank": lambda row: number(row["threads"]),
            "global batch": lambda row: number(row["batch"]),
            "batch/rank": batch,
            "parameters": lambda row: scaled(row["parameters"], ""),
            "runs": lambda row: number(row["repetitions"]),
            "timed steps": lambda row: number(row["steps"]),
            "warm-up": lambda row: number(row["warmup"]),
        },
    )


def _times(series: Row) -> Table:
    return _make(
        f"{series['name']}: step time in ms",
        series["points"],
        {
            "point": _name,
            "median [95 %]": lambda row: interval(row["median"], 1e3),
            "over": lambda row: row["median"]["basis"],
            "mean": lambda row: milliseconds(row["mean"]),
            "p95": lambda row: milliseconds(row["p95"]),
            "p99": lambda row: milliseconds(row["p99"]),
            "imbalance": lambda row: number(row["imbalance"]),
            "of work": lambda row: number(row["work_imbalance"]),
            "communication": lambda row: milliseconds(row["communication"]),
            "exposed": lambda row: milliseconds(row["exposed"]),
            "hidden": lambda row: milliseconds(row["hidden"]),
        },
    )


def _rates(series: Row) -> Table:
    table = _make(
        f"{series['name']}: rates",
        series["points"],
        {
            "point": _name,
            "samples/s": lambda row: number(row["samples_per_second"]),
            "efficiency % [95 %]": lambda row: interval(row["efficiency"], 100),
            "FLOP/s": lambda row: scaled(row["flops_per_second"], "FLOP/s"),
            "% of GEMM peak": lambda row: percent(row["peak_share"]),
            "gradients": lambda row: scaled(row["gradient_bytes"], "B"),
            "algbw": lambda row: scaled(row["algbw"], "B/s"),
            "busbw": lambda row: scaled(row["busbw"], "B/s"),
        },
    )
    base = series["points"][0]
    ranks = f"{base['ranks']} rank{'s' if base['ranks'] > 1 else ''}"
    rate = number(base["samples_per_second"])
    table.notes.append(f"base of the efficiency: {base['name']}, {ranks}, {rate} samples/s")
    return table


def _phases(series: Row) -> Table:
    points = series["points"]
    names = dict.fromkeys(name for row in points for name in row["phases"]["rows"])
    columns: dict[str, Callable[[Row], str]] = {"point": _name}
    for name in sorted(names, key=lambda name: name in ("other", "imbalance")):
        columns[name] = lambda row, name=name: milliseconds(row["phases"]["rows"].get(name))  # type: ignore[misc]
    columns["sum"] = lambda row: milliseconds(row["phases"]["sum"])
    columns["mean step"] = lambda row: milliseconds(row["phases"]["step"])
    return _make(f"{series['name']}: where a step's time goes, in ms", points, columns)


def _controls(report: Report) -> Table:
    table = _make(
        "causes: what the median step lacks without them, in ms",
        report["controls"],
        {
            "point": lambda row: row["point"],
            "control": lambda row: row["control"],
            "step": lambda row: milliseconds(row["with"]),
            "without": lambda row: milliseconds(row["without"]),
            "difference [95 %]": lambda row: interval(row["difference"], 1e3),
            "% of step": lambda row: percent(row["share"]),
            "runs": lambda row: " and ".join(map(str, row["repetitions"])),
        },
    )
    table.notes.append("causes hide behind each other: differences need not add up")
    return table


def _roofline(report: Report) -> Table:
    table = _make(
        "roofline, per rank",
        report["roofline"]["points"],
        {
            "point": _name,
            "FLOP/B": lambda row: number(row["intensity"]),
            "bytes/step": lambda row: scaled(row["bytes"], "B"),
            "reached": lambda row: scaled(row["flops_per_second"], "FLOP/s"),
            "GEMM peak": lambda row: scaled(row["peak_flops"], "FLOP/s"),
            "triad": lambda row: scaled(row["memory_bandwidth"], "B/s"),
            "roof": lambda row: scaled(row["bound"], "FLOP/s"),
        },
    )
    table.notes.append(report["roofline"]["counted"])
    return table
