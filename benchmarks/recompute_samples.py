"""The raw samples of a scaling study and the statistics of a report, by h5py and NumPy only."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

DRAWS = 4000


class Checker:
    """Compares numbers and keeps count.

    Attributes
    ----------
    wrong : list of str
    checked : int
    """

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.checked = 0

    def __call__(self, place: str, reported: Any, expected: Any, rel: float = 1e-9) -> None:
        self.checked += 1
        if isinstance(expected, float) and isinstance(reported, int | float):
            if math.isclose(reported, expected, rel_tol=rel, abs_tol=1e-12):
                return
        elif reported == expected:
            return
        self.wrong.append(f"{place}: reported {reported!r}, recomputed {expected!r}")

    def holds(self, place: str, claim: bool) -> None:
        """Check something that is no number."""
        self.checked += 1
        if not claim:
            self.wrong.append(place)


# -- the samples -----------------------------------------------------------------------------------


def load(directory: Path) -> tuple[dict[str, list[dict[str, Any]]], list[tuple[str, int]]]:
    """Good runs by the name of their point, in order, and the names of refused ones."""
    last = {}
    for text in (directory / "runs.jsonl").read_text().splitlines():
        line = json.loads(text)
        last[json.dumps(line["point"], sort_keys=True), line["repeat"]] = line
    runs: dict[str, list[dict[str, Any]]] = {}
    refused = []
    for (_, repeat), line in sorted(last.items(), key=lambda item: item[0]):
        name = point_name(line["point"])
        if line["status"] == "good":
            runs.setdefault(name, []).append(read(directory / line["file"]))
        else:
            refused.append((name, repeat))
    return runs, refused


def point_name(point: dict[str, Any]) -> str:
    parts = [point["sweep"], f"p{point['ranks']}", f"b{point['batch']}"]
    parts += [point["variant"]] if point["variant"] else []
    parts += [point["control"].replace(" ", "-")] if point["control"] != "none" else []
    return "-".join(parts)


def read(path: Path) -> dict[str, Any]:
    """The timed steps of a run."""
    with h5py.File(path) as file:
        timed = slice(int(file.attrs["warmup"]), None)
        return {
            "point": json.loads(file.attrs["point"]),
            "facts": json.loads(file.attrs["facts"]),
            "warmup": int(file.attrs["warmup"]),
            "seconds": file["seconds"][:, timed],
            "communication": file["communication"][:, timed],
            "phases": {name: array[:, timed] for name, array in file["phases"].items()},
        }


# -- statistics ------------------------------------------------------------------------------------


def medians(runs: list[dict[str, Any]]) -> np.ndarray:
    return np.array([np.median(run["seconds"].max(axis=0)) for run in runs])


def order_interval(values: np.ndarray) -> tuple[float | None, float | None, float]:
    """Ends and level by order statistics: the binomial tail is summed term by term."""
    n, below, j = len(values), 0, 0
    while 2 * (below + math.comb(n, j)) <= 0.05 * 2**n:
        below += math.comb(n, j)
        j += 1
    ordered = np.sort(values)
    if not j:
        return None, None, 1.0
    return float(ordered[j - 1]), float(ordered[n - j]), 1 - 2 * below / 2**n


def bootstrap(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians of both sets, drawn anew as the report states: 4000 draws, seed 0."""
    random = np.random.default_rng(0)
    drawn = [
        np.median(values[random.integers(len(values), size=(DRAWS, len(values)))], axis=1)
        for values in (first, second)
    ]
    return drawn[0], drawn[1]
