"""`hpcad scaling simulate`: jobs, descriptions and studies become a table."""

from __future__ import annotations

import json

import pytest
from test_described import GOOD as DESCRIPTION
from test_machine import GOOD as MACHINE
from test_measured import write_run

from hpcad.cli import main

JOB = "jobs/digits.toml"


def simulate(*words):
    return main(["scaling", "simulate", *map(str, words)])


def test_a_job_on_a_known_machine(tmp_path, capsys):
    out = tmp_path / "predicted.json"
    assert simulate(JOB, "--machine", "perlmutter", "--ranks", "1,64,4", "--json", out) == 0
    text = capsys.readouterr().out
    assert "from documents, not measured" in text
    assert "predicted, not measured" in text
    found = json.loads(out.read_text())
    assert [each["ranks"] for each in found["predictions"]] == [1, 4, 64]
    assert found["predictions"][0]["efficiency"] == 1
    assert found["machine"]["measured"] is False
    for each in found["predictions"]:
        assert f"{1e3 * each['step']:,.3f}" in text


def test_a_description_on_a_machine_of_ones_own(tmp_path, capsys):
    (tmp_path / "model.toml").write_text(DESCRIPTION)
    (tmp_path / "machine.toml").write_text(MACHINE)
    words = [tmp_path / "model.toml", "--machine", tmp_path / "machine.toml", "--ranks", "1,8"]
    assert simulate(*words, "--batch", "8", "--bucket-mb", "1", "--wait-for-checkpoints") == 0
    assert "two layers: 150 parameters" in capsys.readouterr().out


def test_a_study_brings_its_own_device(tmp_path, capsys):
    write_run(tmp_path, 1, 64)
    words = [tmp_path, "--machine", "dgx1-v100", "--sweep", "strong", "--batch", "64"]
    assert simulate(*words, "--ranks", "1,8") == 0
    text = capsys.readouterr().out
    assert "with the study's device" in text
    assert "fitted to 1 runs at 1 rank" in text


def test_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "model.toml").write_text(DESCRIPTION)
    path = tmp_path / "picture.svg"
    words = [tmp_path / "model.toml", "--machine", "dgx1-v100", "--ranks", "1,8,64"]
    assert simulate(*words, "--plot", path) == 0
    assert "predicted, not measured" in path.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([JOB, "--machine", "perlmuter"], "did you mean 'perlmutter'"),
        (["nowhere.toml", "--machine", "perlmutter"], "there is no job file or description"),
        ([JOB, "--machine", "perlmutter", "--batch", "-1"], "--batch must be above 0"),
        ([JOB, "--machine", "perlmutter", "--ranks", "100000"], "room for 7,168 ranks"),
        ([JOB, "--machine", "perlmutter", "--json", "/nowhere/x.json"], "cannot write"),
    ],
)
def test_what_is_wrong_is_one_sentence(words, message, capsys):
    assert simulate(*words) == 2
    assert message in capsys.readouterr().err


def test_ranks_are_numbers(capsys):
    with pytest.raises(SystemExit):
        simulate(JOB, "--machine", "perlmutter", "--ranks", "1,many")
    assert "must be numbers of ranks" in capsys.readouterr().err
