"""What checkpoints and failures cost: against runs that fail at random."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpcad.scaling.simulation.failures import Interruptions


def lived(mtbf, stall, restart, interval, work, seed=2):
    """Seconds of a run of so much training: checkpoint by checkpoint, failures at random."""
    rng = np.random.default_rng(seed)
    time, done = 0.0, 0
    while done < work:
        left = rng.exponential(mtbf)
        if left >= interval + stall:
            time, done = time + interval + stall, done + interval
            continue  # exponential: what has been lived through is forgotten
        time += left
        while (left := rng.exponential(mtbf)) < restart:
            time += left
        time += restart
    return time


@pytest.mark.parametrize(("mtbf", "interval"), [(1000.0, 100.0), (300.0, 200.0), (50.0, 30.0)])
def test_overheads_are_those_of_runs_that_fail(mtbf, interval):
    machine = Interruptions(mtbf, stall=5.0, restart=20.0)
    checkpoints, failures = machine.overheads(interval)
    work = 20_000 * interval
    assert 1 + checkpoints + failures == pytest.approx(
        lived(mtbf, 5.0, 20.0, interval, work) / work, rel=0.02
    )
    assert checkpoints == 5.0 / interval


@pytest.mark.parametrize("mtbf", [1e4, 1e5, 1e6])
def test_no_interval_is_better_than_the_best(mtbf):
    machine = Interruptions(mtbf, stall=10.0, restart=60.0)
    best = machine.best_interval()
    assert best == pytest.approx(math.sqrt(2 * 10 * mtbf) - 10)
    least = sum(machine.overheads(best))
    for other in (best / 2, best * 2):
        assert sum(machine.overheads(other)) > least


def test_writing_in_the_background_loses_what_is_trained_meanwhile():
    quick = Interruptions(1e4, stall=1.0, writing=0.0)
    slow = Interruptions(1e4, stall=1.0, writing=100.0)
    assert slow.overheads(500)[1] - quick.overheads(500)[1] == pytest.approx(100 / 1e4)
    assert slow.best_interval() >= 100


def test_where_nothing_fails_nothing_is_lost():
    machine = Interruptions(math.inf, stall=10.0)
    assert machine.best_interval() == math.inf
    assert machine.overheads(math.inf) == (0.0, 0.0)
    assert machine.overheads(100.0) == (0.1, 0.0)


def test_a_job_that_fails_sooner_than_it_gets_on_never_ends():
    machine = Interruptions(1.0, stall=600.0, restart=300.0)
    assert machine.overheads(machine.best_interval())[1] == math.inf
