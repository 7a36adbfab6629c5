"""A job that stages its data trains as one that reads them where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hpcad
from hpcad.data.staging import room as stage_room
from hpcad.models import REGISTRY
from hpcad.training.job import load_job
from hpcad.training.run import run

JOBS = Path(__file__).resolve().parents[2] / "jobs"
MODELS = {kind: entry.config for kind, entry in REGISTRY.items()}


def train(directory: Path, **settings: Any) -> dict[str, float]:
    fixed = {"training.steps": 3, "checkpoint.enabled": "false", "output.directory": directory}
    overrides = [f"{key}={value}" for key, value in {**fixed, **settings}.items()]
    job = load_job(JOBS / "digits.toml", overrides, models=MODELS)
    return run(job, REGISTRY[job.model.kind], hpcad.init()).metrics


def test_staged_data_give_the_same_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = train(tmp_path / "a")
    stage = {"data.stage": tmp_path / "local", "data.stage_keep": "true"}
    assert train(tmp_path / "b", **stage) == expected
    copies = sorted(path.name.partition("-")[0] for path in (tmp_path / "local").iterdir())
    assert copies == ["test", "train"]
    said = capsys.readouterr().out
    assert "builtin:digits/train staged to" in said
    assert "read from the shared file system" in said


def test_auto_goes_on_without_a_copy_where_there_is_no_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_room, "PLACES", ())
    train(tmp_path, **{"data.stage": "auto"})
    assert (
        "builtin:digits/train is read where it is: node 0 has no place" in capsys.readouterr().out
    )
