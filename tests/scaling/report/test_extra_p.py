"""The export for Extra-P: every run and phase in lines of its format."""

from __future__ import annotations

import json

import pytest
from simulated_study import SHARES, strong, weak, write_study

from hpcad.errors import ConfigError
from hpcad.scaling.report.extra_p import write_extra_p
from hpcad.scaling.report.reading import read_study
from hpcad.scaling.study.point import Point


def test_lines_hold_every_run_and_phase(tmp_path):
    points = [*strong((1, 2)), *weak((1, 2))]
    study = read_study(write_study(tmp_path, points, repeats=2, steps=4, noise=0.1))
    count = write_extra_p(study, tmp_path / "extra.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "extra.jsonl").read_text().splitlines()]
    # Of each run: the step, 4 phases on two ranks and 3 on one, "other" and "imbalance".
    assert count == len(lines) == 2 * 2 * (7 + 6)
    assert all(set(line) == {"params", "value", "callpath", "metric"} for line in lines)
    assert {line["metric"] for line in lines} == {"time"}
    chosen = [
        line["value"]
        for line in lines
        if line["callpath"] == "train->strong->backward" and line["params"] == {"p": 2}
    ]
    runs = study.runs[Point("strong", 2, 256)]
    expected = [SHARES["backward"] * run.seconds[:, run.timed].mean() for run in runs]
    assert chosen == pytest.approx(expected)
    assert chosen[0] != pytest.approx(chosen[1])
    steps = [line for line in lines if line["callpath"] in ("train->strong", "train->weak")]
    assert len(steps) == 8


def test_controls_have_paths_of_their_own(tmp_path):
    points = strong((1, 2)) + strong((2,), control="communication off")
    study = read_study(write_study(tmp_path, points, repeats=1, steps=4))
    write_extra_p(study, tmp_path / "extra.jsonl")
    paths = {
        json.loads(x)["callpath"] for x in (tmp_path / "extra.jsonl").read_text().split("\n")[:-1]
    }
    assert {"train->strong, batch 256", "train->strong, batch 256, communication off"} < paths


def test_without_a_sweep_of_ranks_there_is_nothing_to_export(tmp_path):
    study = read_study(write_study(tmp_path, [Point("batch", 2, 64)], repeats=1, steps=4))
    with pytest.raises(ConfigError, match="no strong or weak sweep"):
        write_extra_p(study, tmp_path / "extra.jsonl")
