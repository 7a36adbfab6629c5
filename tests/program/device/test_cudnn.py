"""Compiled training with attention by cuDNN, on its stand-in."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import strict
from hpcad.backend.cudnn import BoundAttention

from .test_training import Run


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_losses_are_those_of_the_host(monkeypatch, precision):
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    monkeypatch.setenv("HPCAD_CUDNN", "1")
    found, host = (Run("gpt", device, precision) for device in ("strict", "cpu"))
    np.testing.assert_allclose(found.losses(), host.losses(), rtol=2e-3)
    program = found.compiled.program
    assert program._call.graphs == 1  # with everything in it
    calls = [s.call for s in program.steps if s.name.startswith("tiled_attention")]
    assert len(calls) == 4
    assert all(isinstance(call, BoundAttention) for call in calls)


def test_a_step_waits_for_nothing(monkeypatch):
    monkeypatch.setenv("HPCAD_CUDNN", "1")
    run = Run("gpt", "strict", "float16")
    for number in range(2):
        run.take(number)
    with strict.forbid_synchronisation():
        run.take(2)


def test_float32_stays_with_the_kernels(monkeypatch):
    monkeypatch.setenv("HPCAD_CUDNN", "1")
    run = Run("gpt", "strict")
    run.take(0)
    steps = [s for s in run.compiled.program.steps if s.name.startswith("tiled_attention")]
    assert len(steps) == 4
    assert not any(isinstance(s.call, BoundAttention) for s in steps)
