"""Limits of a run from outside: the end of its job, in time for a save."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim
from hpcad.errors import ConfigError
from hpcad.training.limits import Deadline, Limits, end_of_job
from hpcad.training.result import OUT_OF_TIME
from hpcad.training.stop import Stop

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("environ", "end"),
    [
        ({}, None),
        ({"SLURM_JOB_END_TIME": "1800003600"}, NOW + 3600),
        ({"SLURM_JOB_END_TIME": "1799999999"}, None),  # Slurm may let a job run on
        ({"SLURM_JOB_END_TIME": "Unknown"}, None),
        ({"SLURM_JOB_END_TIME": "inf"}, None),
        ({"HPCAD_END_TIME": "1800000060.5"}, NOW + 60.5),
        ({"HPCAD_END_TIME": "1800000060", "SLURM_JOB_END_TIME": "1800003600"}, NOW + 60),
        ({"HPCAD_END_TIME": "none", "SLURM_JOB_END_TIME": "1800003600"}, None),
        ({"HPCAD_END_TIME": " ", "SLURM_JOB_END_TIME": "1800003600"}, NOW + 3600),
    ],
)
def test_when_the_job_ends(environ, end):
    assert end_of_job(environ, NOW) == end


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("in an hour", "'in an hour' is no time in seconds since 1970"),
        ("nan", "is no time"),
        ("inf", "is no time"),
        ("1799999940", "was 60 s ago; set it where the job starts"),
    ],
)
def test_a_wrong_end_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        end_of_job({"HPCAD_END_TIME": text}, NOW)


@pytest.mark.parametrize("wrong", [{"margin": -1.0}, {"margin": math.nan}, {"tries": 0}])
def test_wrong_limits_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Limits(**wrong)


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_the_margin_counts_at_the_next_question():
    clock = Clock(50.0)
    deadline = Deadline(Limits(NOW + 100, margin=30.0), clock=clock, wall=lambda: NOW)
    assert not deadline.too_near(ahead=5.0, step=1.0)
    clock.now += 64.9  # 35.1 s are left, and 30.1 s at the next question
    assert not deadline.too_near(ahead=5.0, step=1.0)
    clock.now += 0.2
    assert deadline.too_near(ahead=5.0, step=1.0)


def test_a_long_save_counts_more_than_the_margin():
    clock = Clock(0.0)
    deadline = Deadline(Limits(NOW + 100, margin=10.0), clock=clock, wall=lambda: NOW)
    deadline.note_save(40.0)
    deadline.note_save(3.0)  # the longest counts, twice: one may be under way
    assert not deadline.too_near(ahead=1.0, step=6.0)  # 80 + 3 x 6 + 1 < 100
    assert deadline.too_near(ahead=2.0, step=6.0)


def test_a_clock_that_is_set_changes_nothing():
    wall = Clock(NOW)
    deadline = Deadline(Limits(NOW + 100, margin=10.0), clock=Clock(0.0), wall=wall)
    wall.now += 1e6
    assert not deadline.too_near(ahead=1.0, step=0.1)


def test_without_an_end_there_is_time():
    assert not Deadline(Limits()).too_near(ahead=1e9, step=1e9)


class Slow:
    """A communicator of two ranks, whose other rank's clock is ahead."""

    size = 2

    def __init__(self, when: int) -> None:
        self.when, self.asked = when, 0

    def allreduce(self, array, op, name):
        self.asked += 1
        assert op == "max"
        array[1] = max(array[1], self.asked >= self.when)


def test_the_first_clock_stops_all_ranks():
    class World:
        communicator = Slow(when=3)

    stop = Stop(World())
    for _ in range(10_000):
        time.sleep(0.01)
        if stop.after_step():
            break
    assert World.communicator.asked == 3
    assert (stop.signal, stop.out_of_time) == (0, True)


def trainer(directory, limits=None, **options):
    model = nn.Linear(3, 2).initialize(1)
    x = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    settings = {"batch": 20, "steps": 20, "log_every": 1000, "checkpoint_every": 1000}
    return hpcad.Trainer(
        model,
        optim.Adam(model, 1e-3),
        hpcad.ArrayDataset({"x": x}),
        loss=lambda m, batch: (m(batch["x"]) ** 2).mean(),
        directory=directory,
        limits=limits,
        **(settings | options),
    )


def test_a_run_out_of_time_saves_and_can_be_continued(tmp_path):
    result = trainer(tmp_path, Limits(time.time() + 50, margin=60.0)).run()
    assert (result.step, result.saved_step) == (1, 1)
    assert (result.out_of_time, result.stop_signal, result.stopped) == (True, 0, True)
    assert result.exit_code == OUT_OF_TIME
    again = trainer(tmp_path, Limits(time.time() + 3600, margin=60.0)).run()
    assert (again.resumed_step, again.step, again.exit_code) == (1, 20, 0)


def test_the_environment_limits_a_program_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCAD_END_TIME", str(time.time() + 50))
    assert trainer(tmp_path).run().out_of_time


def test_measured_saves_shorten_a_run(tmp_path):
    run = trainer(tmp_path, Limits(time.time() + 50, margin=0.0), checkpoint_every=5)
    real = run.deadline.note_save
    run.deadline.note_save = lambda seconds: real(seconds + 30.0)
    result = run.run()
    assert 5 < result.step < 20
    assert result.out_of_time
    assert result.saved_step == result.step


def test_without_saving_time_does_not_matter():
    result = trainer(None, Limits(time.time() + 50, margin=60.0)).run()
    assert (result.step, result.out_of_time) == (20, False)
