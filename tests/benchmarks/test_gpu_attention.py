"""gpu_attention.py: its check on the strict device, and the lines that it prints."""

from __future__ import annotations

import json

import gpu_attention
import pytest

from hpcad.backend import get_backend
from hpcad.backend.cudnn import BoundAttention, bind_attention


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    """The program sets the variable."""
    monkeypatch.setenv("HPCAD_CUDNN", "0")


@pytest.mark.parametrize("arguments", [[], ["--all"]])
def test_both_compute_the_same_on_the_strict_device(arguments, capsys):
    given = ["--device", "strict", "--dtype", "float16", *arguments]
    assert gpu_attention.main(given) == 0
    assert "differ by at most" in capsys.readouterr().out


def test_what_is_wrong_ends_it(monkeypatch):
    def unmasked(*arrays, causal):
        return bind_attention(*arrays, causal=False)

    monkeypatch.setattr(gpu_attention, "bind_attention", unmasked)
    assert gpu_attention.main(["--device", "strict", "--dtype", "float16"]) == 1


def test_a_call_that_does_nothing_is_noticed(monkeypatch):
    def idle(heads):
        return dict.fromkeys(gpu_attention.WAYS, lambda: None)

    monkeypatch.setattr(gpu_attention.Heads, "by_kernels", idle)
    assert gpu_attention.main(["--device", "strict", "--dtype", "float16"]) == 1


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_nothing_is_measured(capsys):
    assert gpu_attention.main([]) == 2
    assert "nothing measured" in capsys.readouterr().err


class Timer:
    """Says 1 ms of cuDNN and 2 ms of the kernels."""

    def __init__(self, xp):
        self.xp = xp

    def seconds(self, works, repeats):
        (work,) = works
        return 1e-3 if isinstance(work, BoundAttention) else 2e-3

    def repeats_for(self, works):
        return 1


def test_samples_are_printed_and_kept(monkeypatch, capsys, tmp_path):
    environment = gpu_attention.gpu_environment
    described = environment.describe
    monkeypatch.setattr(gpu_attention, "DeviceTimer", Timer)
    monkeypatch.setattr(environment, "device", lambda _: get_backend("strict"))
    monkeypatch.setattr(environment, "describe", lambda xp, _: described(xp, True))
    monkeypatch.setattr(environment, "lines", lambda _: [])
    kept = tmp_path / "kept.json"
    sizes = ["--batch", "1", "--length", "16", "--heads", "2", "--head", "8"]
    given = ["--dtype", "float16", *sizes, "--rounds", "7", "--json", str(kept)]
    assert gpu_attention.main(given) == 0
    printed = capsys.readouterr().out
    assert "back     hpcad takes 2.00 (2.00 .. 2.00) times as long as cuDNN" in printed
    rows = {row["way"]: row["seconds"] for row in json.loads(kept.read_text())["rows"]}
    assert rows["forward"] == {"cudnn": [1e-3] * 7, "hpcad": [2e-3] * 7}
