"""SIGKILL at random moments of a program that saves all the time, one run after the other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from launched import run_bounded

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("trials", "seed"),
    [(60, 1), pytest.param(600, 2, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
def test_killed_at_random_moments(memory, trials, seed, disrupted):
    """Saves at once and beside the program: nothing that was told of is lost, or goes back."""
    program = ["-m", "tests.checkpoint.crash.kill_at_random", memory, trials, seed]
    done = run_bounded([sys.executable, *program], timeout=5 * trials, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    disrupted(
        trials,
        f"{trials} kills at random moments, {found['hits']} in the middle of a save, "
        f"{found['steps']} steps in all",
    )
    assert found["complaints"] == []
    assert found["hits"] > trials / 6, "the kills do not hit saves: their moments have to change"
