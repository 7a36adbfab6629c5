"""`hpcad scaling compare`: exit codes for CI."""

from __future__ import annotations

import json

import pytest
from simulated_study import strong, write_study

from hpcad import cli

HOW = {"noise": 0.01, "steps": 4}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    points = strong((1, 2))
    return {
        "a": write_study(folder / "a", points, **HOW),
        "same": write_study(folder / "same", points, seed=1, **HOW),
        "slow": write_study(folder / "slow", points, seed=2, factor=1.3, **HOW),
        "few": write_study(folder / "few", points, repeats=5, **HOW),
    }


@pytest.mark.parametrize(
    ("b", "more", "code", "told"),
    [
        ("same", [], 0, "no point of B is shown to be slower than A by more than 5 %"),
        ("slow", [], 16, "B is slower than A by more than 5 %"),
        ("slow", ["--tolerance", "0.5"], 0, "by more than 50 %"),
        ("few", [], 2, "no point could be judged: run each point of both studies six times"),
        ("absent", [], 2, "there is no directory"),
        ("same", ["--tolerance", "-0.1"], 2, "the tolerance is a share"),
    ],
)
def test_exit_codes(studies, tmp_path, capsys, b, more, code, told):
    words = [str(studies["a"]), str(studies.get(b, tmp_path / b))]
    assert cli.main(["scaling", "compare", *words, *more]) == code
    shown = capsys.readouterr()
    assert told in shown.out + shown.err


def test_damaged_samples_are_bad_input(studies, tmp_path, capsys):
    study = write_study(tmp_path, strong((1,)), repeats=1, **HOW)
    (study / "runs" / "strong-p1-b256-r0.h5").write_bytes(b"damaged")
    assert cli.main(["scaling", "compare", str(studies["a"]), str(study)]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_the_result_is_written_as_json(studies, tmp_path):
    path = tmp_path / "result.json"
    words = [str(studies["a"]), str(studies["slow"]), "--json", str(path)]
    assert cli.main(["scaling", "compare", *words]) == 16
    result = json.loads(path.read_text())
    assert result["regression"] is True
    assert [row["verdict"] for row in result["points"]] == ["slower", "slower"]
