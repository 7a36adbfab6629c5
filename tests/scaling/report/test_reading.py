"""Study directories: what enters a report, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from simulated_study import samples, strong, write_run, write_study

from hpcad.errors import ConfigError, DataError
from hpcad.scaling.report.reading import read_study
from hpcad.scaling.report.report import make_report
from hpcad.scaling.study.samples import write_samples

ONE, TWO = strong((1, 2))
RANDOM = np.random.default_rng(0)


def edit(directory, number, **changed):
    """Change a line of the record."""
    path = directory / "runs.jsonl"
    lines = path.read_text().splitlines()
    lines[number] = json.dumps({**json.loads(lines[number]), **changed})
    path.write_text("\n".join(lines) + "\n")


def test_wrong_and_failed_runs_enter_nothing_and_are_told(tmp_path):
    study = write_study(tmp_path, [ONE, TWO], repeats=2)
    write_run(study, samples(TWO, 2, RANDOM, factor=0.1), "wrong", "the loss differs by 3e-2")
    failed = {"point": TWO.to_dict(), "repeat": 3, "status": "failed", "reason": "timed out"}
    with (study / "runs.jsonl").open("a") as file:
        file.write(json.dumps({**failed, "file": "", "median": None}) + "\n")
    found = read_study(study)
    assert [len(runs) for runs in found.runs.values()] == [2, 2]
    assert [(run.repeat, run.status) for run in found.refused] == [(2, "wrong"), (3, "failed")]
    report = make_report(found)
    assert report["good_runs"] == 4
    assert report["refused"][0] == {
        "point": TWO.name, "repeat": 2, "status": "wrong", "reason": "the loss differs by 3e-2"
    }  # fmt: skip
    two = report["series"][0]["points"][1]
    assert two["repetitions"] == 2
    assert min(two["medians"]) > 0.5 * report["series"][0]["points"][0]["median"]["value"]


def test_later_lines_replace_earlier_ones(tmp_path):
    study = write_study(tmp_path, [ONE], repeats=1)
    write_run(study, samples(ONE, 0, RANDOM), "wrong", "once wrong")
    with pytest.raises(DataError, match="no good run to report: once wrong"):
        read_study(study)
    write_run(study, samples(ONE, 0, RANDOM))
    assert not read_study(study).refused


def test_an_incomplete_last_line_is_told_and_left_out(tmp_path):
    study = write_study(tmp_path, [ONE], repeats=2)
    with (study / "runs.jsonl").open("a") as file:
        file.write('{"point": {"sweep": "str')
    found = read_study(study)
    assert len(found.runs[ONE]) == 2
    assert found.notices == ["the last line of runs.jsonl is incomplete and was left out"]


def test_what_is_no_study_is_told(tmp_path):
    with pytest.raises(ConfigError, match="there is no directory"):
        read_study(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"holds no study.toml and no runs.jsonl"):
        read_study(tmp_path)
    with pytest.raises(DataError, match="no run has finished"):
        read_study(write_study(tmp_path, [], repeats=0))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"file": "../elsewhere.h5"}, r"expected a path inside"),
        ({"file": "/etc/passwd"}, r"expected a path inside"),
        ({"file": "runs/absent.h5"}, r"the samples of strong-p1-b256-r0 are missing: .*absent.h5"),
        ({"file": "runs/strong-p1-b256-r1.h5"}, r"holds the samples of strong-p1-b256-r1, not"),
        ({"median": 1.0}, r"its median differs"),
        ({"status": "fine"}, r"line 1 of .*: the status 'fine' is none of good, wrong, failed"),
        ({"point": {"sweep": "strong"}}, r"no point of a study"),
        ({"point": "strong"}, r"line 1 of .* describes no run"),
    ],
)
def test_a_record_that_does_not_fit_its_samples_is_refused(tmp_path, changed, told):
    study = write_study(tmp_path, [ONE], repeats=2)
    edit(study, 0, **changed)
    with pytest.raises(DataError, match=told):
        read_study(study)


def test_lines_that_are_no_json_or_lack_something_are_named(tmp_path):
    study = write_study(tmp_path, [ONE], repeats=2)
    path = study / "runs.jsonl"
    good = path.read_text()
    path.write_text("not JSON\n" + good)
    with pytest.raises(DataError, match=r"line 1 of .* is no JSON"):
        read_study(study)
    path.write_text(good + '{"repeat": 1}\n')
    with pytest.raises(DataError, match=r"line 3 of .* lacks point, status"):
        read_study(study)


def test_samples_that_lack_facts_or_time_are_refused(tmp_path):
    study = write_study(tmp_path, [ONE], repeats=1)
    run = samples(ONE, 0, RANDOM)
    del run.facts["peak_flops"], run.facts["seed"]
    write_samples(study / "runs" / f"{run.name}.h5", run)
    with pytest.raises(DataError, match="lacks the facts peak_flops, seed"):
        read_study(study)
    run = samples(ONE, 0, RANDOM)
    run.seconds[0, 3] = np.nan
    write_samples(study / "runs" / f"{run.name}.h5", run)
    with pytest.raises(DataError, match="not positive"):
        read_study(study)


def test_runs_of_different_environments_are_told(tmp_path):
    study = write_study(tmp_path, [ONE], repeats=2)
    other = {"git": "4567def", "machine": "simulated", "variables": {"SLURM_JOB_ID": "1"}}
    write_run(study, samples(ONE, 2, RANDOM, environment=other))
    report = make_report(read_study(study))
    told = "\n".join(report["notices"])
    assert "differ in environment.git: '0123abc' in 2 runs, '4567def' in 1 runs" in told
    assert "environment.variables.OMP_X: '1' in 2 runs, 'absent' in 1 runs" in told
    assert "SLURM_JOB_ID" not in told
    assert "environment.git" not in report["environment"]
    assert report["environment"]["environment.machine"] == "simulated"
