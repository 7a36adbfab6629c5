"""The program that measures evaluation refuses other metrics, and prints a row."""

from __future__ import annotations

import json
from pathlib import Path

import evaluation
import pytest

from hpcad.training.evaluation import Evaluation

SMALL = ["--samples", "40", "--batch", "16", "--rounds", "2"]


@pytest.fixture(autouse=True)
def _one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    first = dict(list(evaluation.MODELS.items())[:1])
    monkeypatch.setattr(evaluation, "MODELS", first)


def test_both_ways_are_timed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert evaluation.main([*SMALL, "--json", str(tmp_path / "found.json")]) == 0
    assert "MLP 784-256-256-10" in capsys.readouterr().out
    (found,) = json.loads((tmp_path / "found.json").read_text())["results"]
    assert [row["name"] for row in found["rows"]] == ["program", "eager"]
    assert len(found["milliseconds"][0]) == 2


def test_other_metrics_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Evaluation.__call__

    def wrong(self: Evaluation, dataset: object) -> dict[str, float]:
        found = usual(self, dataset)
        return {k: v * (1.001 if self.program_bytes else 1.0) for k, v in found.items()}

    monkeypatch.setattr(Evaluation, "__call__", wrong)
    assert evaluation.main(SMALL) == 1
    assert "refused: metrics of MLP" in capsys.readouterr().err
