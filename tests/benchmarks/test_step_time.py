"""step_time.py compares what it times, and times in turn."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import step_time
from step_cases import CASES
from step_time import interleave, largest_difference, measure, summarise


class Fake:
    """A contender whose losses are given; it notes when it was called."""

    def __init__(self, name: str, losses: list[float], log: list[str] | None = None) -> None:
        self.name, self.losses, self.log = name, losses, log if log is not None else []

    def prepare(self, batch: object) -> object:
        return batch

    def __call__(self, _batch: object) -> float:
        self.log.append(self.name)
        return self.losses[(len(self.log) - 1) % len(self.losses)]


OPTIONS = argparse.Namespace(rounds=2, steps=1, warmup=1)


def test_different_losses_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    same = [3.0, 2.0, 1.5, 1.2, 1.0]
    other = [3.0, 2.0, 1.5, 1.2, 1.001]
    assert measure(CASES["mlp"], [Fake("a", same), Fake("b", same)], OPTIONS) is not None
    assert measure(CASES["mlp"], [Fake("a", same), Fake("b", other)], OPTIONS) is None
    assert "refused: the losses differ" in capsys.readouterr().err


def test_a_loss_that_is_no_number_is_refused() -> None:
    nan = [float("nan")] * 5
    assert np.isnan(largest_difference(np.array([[1.0] * 5, nan])))
    assert measure(CASES["mlp"], [Fake("a", nan), Fake("b", nan)], OPTIONS) is None


def test_contenders_take_turns() -> None:
    log: list[str] = []
    steps = [Fake("a", [1.0], log), Fake("b", [1.0], log)]
    times = interleave(steps, [[0, 1], [0, 1]], rounds=2, repeats=1, warmup=1)
    assert "".join(log) == "aabb" + "bbaa" + "aabb"
    assert times.shape == (2, 2, 1)
    assert (times > 0).all()


def test_summary_states_medians_and_ratio() -> None:
    samples = np.array([[[2.0], [2.0], [2.0]], [[4.0], [4.0], [4.0]]])
    mine, other = summarise(["hpcad", "torch"], samples)
    assert (mine["median"], other["median"], other["ratio"]) == (2.0, 4.0, 0.5)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_same_work_as_pytorch_in_all_models(tmp_path: Path) -> None:
    out = tmp_path / "step.json"
    options = ["--rounds", "2", "--steps", "1", "--warmup", "1", "--json", str(out)]
    done = run_step_time(*options)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())["results"]
    assert [found["model"] for found in results] == ["mlp", "cnn", "gpt"]
    for found in results:
        assert 0.0 < found["largest_loss_difference"] < 1e-5
        assert found["title"] in done.stdout
    layouts = [row["name"] for row in results[1]["rows"]]
    assert layouts == [
        "hpcad",
        "torch",
        "torch fused",
        "torch channels-last",
        "torch channels-last fused",
    ]


def test_an_unknown_model_is_named() -> None:
    done = run_step_time("--models", "mlp,lstm")
    assert done.returncode == 2
    assert "unknown model 'lstm'; known: mlp, cnn, gpt" in done.stderr


def run_step_time(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, step_time.__file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
