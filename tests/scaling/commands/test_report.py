"""`hpcad scaling report`: what it writes, prints and refuses."""

from __future__ import annotations

import json
import sys

import pytest
from simulated_study import strong, write_study

from hpcad import cli


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Of one point only."""
    return write_study(tmp_path_factory.mktemp("study"), strong((2,)), noise=0.01, steps=6)


def test_tables_are_printed_and_files_written(study, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    words = ["scaling", "report", str(study), "--output", str(tmp_path / "out")]
    assert cli.main([*words, "--extra-p", str(tmp_path / "extra.jsonl")]) == 0
    told = capsys.readouterr().out
    assert "simulated: 6 good runs, 0 refused" in told
    assert "strong, batch 256: step time in ms" in told
    assert "not fitted: amdahl" in told
    assert "the base of strong, batch 256 is 2 ranks, not a single process" in told
    assert "wrote 42 lines for Extra-P" in told
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["format"] == "hpcad scaling report 1"
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 6
    for kind in ("png", "svg"):
        assert len(list((tmp_path / "out").glob(f"*.{kind}"))) == 6


def test_without_matplotlib_nothing_is_written_unless_plots_are_not_wanted(
    study, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    words = ["scaling", "report", str(study), "--output", str(tmp_path / "out")]
    assert cli.main(words) == 2
    assert "plots need matplotlib" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli.main([*words, "--no-plots"]) == 0
    assert "data:image" not in (tmp_path / "out" / "report.html").read_text()


def test_bad_input_is_told_in_a_sentence(tmp_path, capsys):
    assert cli.main(["scaling", "report", str(tmp_path), "--no-plots"]) == 2
    assert "is no study: it holds no study.toml" in capsys.readouterr().err
    file = tmp_path / "file"
    file.write_text("")
    study = write_study(tmp_path / "study", strong((1,)), repeats=1, steps=4)
    words = ["scaling", "report", str(study), "--no-plots", "--output", str(file / "out")]
    assert cli.main(words) == 3
    assert "cannot write" in capsys.readouterr().err
