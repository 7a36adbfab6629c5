"""Progress: lines in a log, a bar in a terminal, silence on other ranks."""

from __future__ import annotations

import io

import pytest

from hpcad.training.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(progress: Progress, clock: Clock, first: int, last: int) -> None:
    for step in range(first, last + 1):
        clock.now += 0.5
        progress.update(step, epoch=step // 10, samples=64, loss=1 / step, learning_rate=1e-3)


def test_lines_in_a_log():
    log, clock = io.StringIO(), Clock()
    with Progress(25, every=10, stream=log, clock=clock) as progress:
        run(progress, clock, 1, 25)
    lines = log.getvalue().splitlines()
    assert lines == [
        "step 10/25  epoch 1  loss 0.1000  samples/s 128  lr 1.00e-03  ETA 0:00:08",
        "step 20/25  epoch 2  loss 0.0500  samples/s 128  lr 1.00e-03  ETA 0:00:02",
        "step 25/25  epoch 2  loss 0.0400  samples/s 128  lr 1.00e-03  ETA 0:00:00",
    ]


def test_a_resumed_run_counts_its_own_time_only():
    log, clock = io.StringIO(), Clock()
    with Progress(1000, step=900, every=10, stream=log, clock=clock) as progress:
        run(progress, clock, 901, 910)
    assert "samples/s 128" in log.getvalue()
    assert log.getvalue().endswith("ETA 0:00:45\n")


def test_time_of_other_work_is_left_out_of_the_rate():
    log, clock = io.StringIO(), Clock()
    progress = Progress(20, every=10, stream=log, clock=clock)
    run(progress, clock, 1, 5)
    clock.now += 100
    progress.leave_out(100)
    run(progress, clock, 6, 10)
    assert progress.samples_per_second == pytest.approx(128)


def test_values_may_be_unknown():
    log = io.StringIO()
    progress = Progress(1, every=1, stream=log, clock=Clock())
    progress.update(1, epoch=0, samples=0)
    assert log.getvalue() == "step 1/1  epoch 0\n"


def test_other_ranks_are_silent():
    log, clock = Terminal(), Clock()
    with Progress(20, every=1, enabled=False, stream=log, clock=clock) as progress:
        run(progress, clock, 1, 20)
        progress.message("hello")
    assert log.getvalue() == ""
    assert progress.samples_per_second == pytest.approx(128)


def test_a_bar_in_a_terminal():
    log, clock = Terminal(), Clock()
    with Progress(20, step=4, every=4, stream=log, clock=clock) as progress:
        run(progress, clock, 5, 20)
        progress.message("checkpoint saved")
    text = log.getvalue()
    assert "\r" in text
    assert "20/20" in text
    assert "loss=0.0500" in text
    assert "checkpoint saved\n" in text
    assert "ETA" not in text


def test_a_terminal_that_nobody_sees_gets_lines(monkeypatch):
    """`srun -u` gives ranks one as stdout, and a pipe as stderr."""
    out, err = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    with Progress(2, every=1) as progress:
        progress.update(1, epoch=0, samples=8, loss=0.5)
    assert out.getvalue().startswith("step 1/2  epoch 0  loss 0.5000")
    assert err.getvalue() == ""


def test_message_in_a_log():
    log = io.StringIO()
    Progress(3, stream=log).message("checkpoint saved")
    assert log.getvalue() == "checkpoint saved\n"
