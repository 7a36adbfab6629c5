"""gpu_convolution.py: its check on the strict device, and the lines that it prints."""

from __future__ import annotations

import json

import gpu_convolution
import gpu_convolution_contenders
import pytest
from gpu_convolution_layers import LAYERS, Layer

from hpcad.backend import get_backend
from hpcad.backend.cudnn import context, convolution_problem

STRICT = ["--device", "strict", "--dtype", "float16"]


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    """The program sets the variable; plans are those of one test."""
    monkeypatch.setenv("HPCAD_CUDNN", "0")
    monkeypatch.setattr(context, "_contexts", {})


def test_the_layers_are_those_of_the_network():
    """He et al., table 1: sizes of the results."""
    assert [layer.out for layer in LAYERS[:9]] == [112, 56, 56, 28, 28, 28, 14, 14, 7]
    assert LAYERS[0].flops(1) == 2 * 112 * 112 * 64 * 7 * 7 * 3


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_all_compute_the_same_on_the_strict_device(dtype, capsys):
    assert gpu_convolution.main(["--device", "strict", "--dtype", dtype]) == 0
    said = capsys.readouterr().out
    assert "# 18 of 18 tiny convolutions" in said
    assert "TFLOP/s" not in said


def test_what_is_wrong_ends_it(monkeypatch, capsys):
    monkeypatch.setattr(gpu_convolution_contenders, "in_turn", lambda calls: calls[-1])
    assert gpu_convolution.main(STRICT) == 1  # weights are not turned
    said = capsys.readouterr()
    assert "# 18 of 18" not in said.out
    assert "cudnn is wrong by" in said.err


def test_a_convolution_without_a_plan_is_named(monkeypatch, capsys):
    monkeypatch.setattr(convolution_problem, "MOST", 10)
    assert gpu_convolution.main(STRICT) == 1
    said = capsys.readouterr()
    assert "# 9 of 18 tiny" in said.out
    assert "tiny 3x3/2, weight: cudnn has no way for it" in said.err


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_nothing_is_measured(capsys):
    assert gpu_convolution.main([]) == 2
    assert "gpu_convolution: nothing measured" in capsys.readouterr().err


class Timer:
    """Says 1, 2, 1, 2... ms, of cuDNN and the patches in turn."""

    def __init__(self, xp):
        self.known = {}

    def seconds(self, works, repeats):
        (work,) = works
        self.known.setdefault(work, 1e-3 if len(self.known) % 2 == 0 else 2e-3)
        work()
        return self.known[work]

    def repeats_for(self, works):
        return 1


def test_samples_are_printed_and_kept(monkeypatch, capsys, tmp_path):
    environment = gpu_convolution.gpu_environment
    described = environment.describe
    monkeypatch.setattr(gpu_convolution, "DeviceTimer", Timer)
    monkeypatch.setattr(gpu_convolution, "torch_with_cuda", lambda: None)
    monkeypatch.setattr(gpu_convolution, "LAYERS", (Layer("small", 6, 4, 8, 3, 1, 1),))
    monkeypatch.setattr(environment, "device", lambda _: get_backend("strict"))
    monkeypatch.setattr(environment, "describe", lambda xp, _: described(xp, True))
    monkeypatch.setattr(environment, "lines", lambda _: [])
    kept = tmp_path / "kept.json"
    given = ["--dtype", "float32", "--batch", "2", "--rounds", "7", "--json", str(kept)]
    assert gpu_convolution.main(given) == 0
    printed = capsys.readouterr().out
    assert "small         forward  cudnn      1000.0 us (1000.0 .. 1000.0)" in printed
    assert "2.00 (2.00 .. 2.00) times as long as cudnn" in printed
    rows = json.loads(kept.read_text())["rows"]
    assert [row["way"] for row in rows] == ["forward", "input", "weight"]
    assert rows[2]["seconds"] == {"cudnn": [1e-3] * 7, "hpcad": [2e-3] * 7}


def test_a_line_says_where_there_is_no_plan():
    row = {"layer": "one", "way": "input", "flops": 10**9, "seconds": {"hpcad": [1e-3] * 7}}
    lines = gpu_convolution.lines_of(row)
    assert lines[0].endswith("1.0 TFLOP/s")
    assert lines[1] == "one           input    cudnn has no plan"
