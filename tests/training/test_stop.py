"""Signals: a run that is asked to end finishes its step, saves, and can be continued."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim
from hpcad.training.stop import StopSignals


def trainer(directory, **options):
    model = nn.Linear(3, 2).initialize(1)
    x = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    settings = {"batch": 20, "steps": 20, "log_every": 1000, "checkpoint_every": 1000}
    return hpcad.Trainer(
        model,
        optim.Adam(model, 1e-3),
        hpcad.ArrayDataset({"x": x}),
        loss=lambda m, batch: (m(batch["x"]) ** 2).mean(),
        directory=directory,
        **(settings | options),
    )


def signalled(run, step: int, number: int):
    """Let a run get a signal in the middle of a step."""
    real = run._step

    def taken(batch, phases):
        if run.result.step == step - 1:
            os.kill(os.getpid(), number)
        return real(batch, phases)

    run._step = taken
    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_signal_saves_and_ends_the_run_after_its_step(tmp_path, number, asynchronous):
    before = signal.getsignal(number)
    result = signalled(trainer(tmp_path, asynchronous=asynchronous), 7, number).run()
    assert (result.step, result.saved_step, result.stop_signal) == (7, 7, number)
    assert result.checkpoint == tmp_path / "checkpoints" / "step-00000007"
    assert signal.getsignal(number) == before
    again = trainer(tmp_path).run()
    assert (again.resumed_step, again.step, again.stop_signal) == (7, 20, 0)


def test_without_saving_signals_do_what_they_did(tmp_path):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        result = signalled(trainer(None), 7, signal.SIGUSR1).run()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]
    assert (result.step, result.stop_signal) == (20, 0)


def test_in_another_thread_no_handler_is_installed():
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def enter():
        with StopSignals(hpcad.init()):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]


class Talking:
    """A communicator whose other rank got a signal before the third question."""

    size = 2

    def __init__(self) -> None:
        self.asked = 0

    def allreduce(self, array, op, name):
        self.asked += 1
        assert op == "max"
        if self.asked == 3:
            array[0] = max(array[0], 15)
        array[1] = max(array[1], 0.05)


def test_ranks_ask_each_other_seldom_and_stop_together():
    class World:
        communicator = Talking()

    stop = StopSignals(World())
    steps = 1
    while not (number := stop.after_step()):
        steps += 1
    assert number == 15
    assert World.communicator.asked == 3
    assert steps == 1 + 4 + 4  # 0.2 s apart, in steps of 0.05 s


def test_the_stall_is_told(tmp_path, capsys):
    trainer(tmp_path, checkpoint_every=10).run()
    out = "".join(capsys.readouterr())
    assert "step 10: checkpoint: held the step " in out
    assert "step 20: checkpoint: held the step " in out


@pytest.mark.parametrize("asynchronous", [True, False])
def test_every_save_is_on_the_disk_at_the_end(tmp_path, asynchronous):
    result = trainer(tmp_path, steps=9, checkpoint_every=2, keep=9, asynchronous=asynchronous).run()
    names = sorted(p.name for p in (tmp_path / "checkpoints").glob("step-*"))
    assert names == [f"step-0000000{step}" for step in (2, 4, 6, 8, 9)]
    assert all((tmp_path / "checkpoints" / name / "manifest.json").exists() for name in names)
    assert result.checkpoint.name == "step-00000009"
