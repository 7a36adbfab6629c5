"""Metrics files: rows, resumption without duplicates, a killed writer, a full disk."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hpcad.errors import HpcadError
from hpcad.training import metrics as metrics_module
from hpcad.training.metrics import MetricsWriter, read_metrics


def table(directory: Path) -> list[dict[str, str]]:
    with open(directory / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_there_at_once(tmp_path):
    with MetricsWriter(tmp_path / "runs" / "a") as metrics:
        metrics.write({"step": 1, "loss": 0.5})
        assert read_metrics(tmp_path / "runs" / "a") == [{"step": 1, "loss": 0.5}]
        assert table(tmp_path / "runs" / "a") == [{"step": "1", "loss": "0.5"}]


def test_numbers_of_numpy_and_not_a_number(tmp_path):
    with MetricsWriter(tmp_path) as metrics:
        metrics.write({"step": np.int64(1), "loss": np.float32(0.5), "a": float("nan")})
        metrics.write({"step": 2, "loss": np.float64("inf"), "a": 1.5})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "loss": 0.5, "a": None},
        {"step": 2, "loss": None, "a": 1.5},
    ]
    assert table(tmp_path)[1] == {"step": "2", "loss": "", "a": "1.5"}


def test_a_new_column_reaches_the_header(tmp_path):
    with MetricsWriter(tmp_path) as metrics:
        metrics.write({"step": 1, "loss": 0.5})
        metrics.write({"step": 2, "test_accuracy": 0.9})
        metrics.write({"step": 3, "loss": 0.25})
    assert table(tmp_path) == [
        {"step": "1", "loss": "0.5", "test_accuracy": ""},
        {"step": "2", "loss": "", "test_accuracy": "0.9"},
        {"step": "3", "loss": "0.25", "test_accuracy": ""},
    ]
    assert len(read_metrics(tmp_path)) == 3


def test_a_resumed_curve_has_no_duplicates(tmp_path):
    with MetricsWriter(tmp_path) as metrics:
        for step in range(1, 6):
            metrics.write({"step": step, "loss": step / 10})
    with MetricsWriter(tmp_path, resumed_step=3) as metrics:
        for step in range(4, 7):
            metrics.write({"step": step, "loss": step})
    steps = [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in read_metrics(tmp_path)] == steps
    assert [int(row["step"]) for row in table(tmp_path)] == steps
    assert table(tmp_path)[3]["loss"] == "4"


def test_a_fresh_run_starts_anew(tmp_path):
    with MetricsWriter(tmp_path) as metrics:
        metrics.write({"step": 0, "loss": 1.0})
    with MetricsWriter(tmp_path):
        pass
    assert read_metrics(tmp_path) == []
    assert table(tmp_path) == []


def test_an_unfinished_line_of_a_killed_run_is_dropped(tmp_path):
    with MetricsWriter(tmp_path) as metrics:
        metrics.write({"step": 1, "loss": 0.5})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "lo')
    assert len(read_metrics(tmp_path)) == 1
    with MetricsWriter(tmp_path, resumed_step=2) as metrics:
        metrics.write({"step": 3, "loss": 0.25})
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 3]
    assert len(table(tmp_path)) == 2


def test_a_crash_while_resuming_keeps_the_old_rows(tmp_path, monkeypatch):
    with MetricsWriter(tmp_path) as metrics:
        metrics.write({"step": 1, "loss": 0.5})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics_module.os, "fsync", full)
    with pytest.raises(HpcadError, match=r"cannot write metrics in .*No space left on device"):
        MetricsWriter(tmp_path, resumed_step=1)
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 0.5}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "metrics.jsonl"]


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HpcadError, match="cannot write metrics in"):
        MetricsWriter(tmp_path / "file" / "sub")
