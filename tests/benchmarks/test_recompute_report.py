"""The figures of a report are recomputed from the raw samples, and a changed one is found."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest
from recompute_report import recompute

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scaling"))

from simulated_study import samples, strong, weak, write_run, write_study

from hpcad.scaling.report.reading import read_study
from hpcad.scaling.report.report import make_report


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    import numpy as np

    points = [*strong((1, 2, 4, 8)), *weak((1, 2)), *strong((2,), control="communication off")]
    folder = write_study(tmp_path_factory.mktemp("study"), points, noise=0.02, steps=20)
    write_run(folder, samples(points[0], 7, np.random.default_rng(0)), "wrong", "on purpose")
    return folder, json.loads(json.dumps(make_report(read_study(folder)), allow_nan=False))


def test_every_figure_is_found_again(study):
    check = recompute(*study)
    assert check.wrong == []
    assert check.checked > 400


def test_changed_figures_are_found(study):
    folder, report = study
    report = copy.deepcopy(report)
    row = report["series"][0]["points"][1]
    row["median"]["high"] *= 1.001
    row["efficiency"]["low"] *= 1.001
    row["phases"]["rows"]["backward"] *= 1.001
    for name in ("p95", "peak_share", "busbw", "hidden", "work_imbalance"):
        row[name] *= 1.001
    report["controls"][0]["difference"]["value"] *= 1.001
    report["good_runs"] -= 1
    place = row["name"]
    assert {wrong.partition(": reported")[0] for wrong in recompute(folder, report).wrong} == {
        "good runs", f"{place}: median high", f"{place}: efficiency, low",
        f"{place}: phase backward", f"{place}: p95", f"{place}: share of the peak",
        f"{place}: busbw", f"{place}: hidden", f"{place}: work_imbalance",
        f"{place}, communication off: difference",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_number_is_changed_it_is_found(study):
    folder, report = study
    kinds = {tuple(k for k in path if isinstance(k, str)): path for path in numbers(report)}
    assert len(kinds) > 60
    missed = []
    for path in kinds.values():
        if path[-1] == "error" or _is_loose(report, path):
            continue
        altered = copy.deepcopy(report)
        place = altered
        for key in path[:-1]:
            place = place[key]
        value = place[path[-1]]
        place[path[-1]] = altered_number(value)
        missed += [] if recompute(folder, altered).wrong else [path]
    assert missed == []


def altered_number(value):
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 1.5 * value or 0.01


def numbers(tree, path=()):
    """Where the numbers of a report are."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [found for key, value in items for found in numbers(value, (*path, key))]
    return [path] if isinstance(tree, int | float) else []


def _is_loose(report, path):
    """Whether the samples hardly tell the number: a latency that is too short to be seen."""
    if "alpha" not in path:
        return False
    for key in path[:-1]:
        report = report[key]
    return report["low"] is None
