"""tape_overhead.py compares the gradients of what it times."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import tape_overhead
from tape_overhead import START, Contender, hpcad_backward, hpcad_grad, measure

OPTIONS = argparse.Namespace(rounds=2, length=10)


def chain(y):
    for _ in range(5):
        y = y * 0.5
        y = y + 0.5
    return y


def contenders(*gradients):
    names = [Contender(str(i), lambda g=g: g) for i, g in enumerate(gradients)]
    return [*names, Contender("none", lambda: None)]


def test_hpcads_ways_find_the_gradient():
    for run in (hpcad_grad(chain), hpcad_backward(chain)):
        for _ in range(2):
            np.testing.assert_array_equal(run(), np.full(START.shape, 0.5**5))


def test_different_gradients_are_refused(capsys: pytest.CaptureFixture[str]):
    one = np.ones(10)
    assert measure("same", contenders(one, one), OPTIONS) is not None
    assert measure("other", contenders(one, one + 1e-9), OPTIONS) is None
    assert measure("nan", contenders(one, one * np.nan), OPTIONS) is None
    assert "refused: gradients of other differ" in capsys.readouterr().err


def test_what_it_needs_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(__import__("sys").modules, "autograd", None)
    assert tape_overhead.main([]) == 2
    assert "install torch and autograd" in capsys.readouterr().err
