"""The programs that measure compiled steps refuse what is wrong, and answer what they are asked."""

from __future__ import annotations

import argparse

import compile_time
import numpy as np
import program_overhead
import pytest
import step_memory
from children import ChildError, ask_child
from program_overhead import CHAINS, SCALE, START, Way, flat, measure, ways_of

OPTIONS = argparse.Namespace(rounds=2, length=10)


def results(value: float, gradient: float) -> Way:
    return Way(str(gradient), lambda: (value, (np.full(2, gradient), np.ones(2))))


def test_different_results_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert measure("same", [results(1.0, 2.0), results(1.0, 2.0)], OPTIONS) is not None
    assert measure("value", [results(1.0, 2.0), results(1.1, 2.0)], OPTIONS) is None
    assert measure("gradient", [results(1.0, 2.0), results(1.0, 2.0 + 1e-9)], OPTIONS) is None
    assert measure("nan", [results(1.0, 2.0), results(1.0, np.nan)], OPTIONS) is None
    assert "refused: results of gradient differ" in capsys.readouterr().err


@pytest.mark.parametrize("title", CHAINS)
def test_every_way_finds_the_derivative(title: str) -> None:
    """Against a central difference along the factor."""
    chain, ways = CHAINS[title], ways_of(CHAINS[title], 30)
    found = [flat(way()) for _ in range(3) for way in ways]
    step = 1e-6

    def value(scale: np.ndarray) -> float:
        return float(chain(np, START, scale, program_overhead.SHIFT, 30).sum())

    slope = (value(SCALE + step) - value(SCALE - step)) / (2 * step)
    for each in found:
        assert each[0] == pytest.approx(value(SCALE), rel=1e-12)
        assert each[11:].sum() == pytest.approx(slope, rel=1e-6)


def test_memory_of_a_compiled_step() -> None:
    what = {"model": "mlp", "way": "compiled", "steps": 20}
    found = ask_child(step_memory.__file__, what, step_memory.THREADS)
    assert found["bound_bytes"] <= found["arena_bytes"] <= found["peak_bytes"]
    assert len(found["traced_growth_bytes"]) == 10
    assert found["resident_peak_bytes"] > 10e6


def test_calls_of_a_compiled_step_are_timed_one_by_one(tmp_path) -> None:
    settings = compile_time.THREADS | {"HPCAD_CACHE_DIR": str(tmp_path)}
    found = ask_child(compile_time.__file__, {"model": "mlp"}, settings)
    assert len(found["calls"]) == 3
    assert all(seconds > 0 for seconds in (*found["calls"], found["replay"], found["eager"]))


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(ChildError, match="no_such_model"):
        ask_child(step_memory.__file__, {"model": "no_such_model", "way": "eager", "steps": 1}, {})
