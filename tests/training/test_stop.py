"""Signals: a run that is asked to end finishes its step, saves, and can be continued."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim
from hpcad.checkpoint.disk import Disk
from hpcad.checkpoint.reading.reader import read_checkpoint
from hpcad.training.stop import Stop


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
        with Stop(hpcad.init()):
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
        array[2] = max(array[2], 0.05)


def test_ranks_ask_each_other_seldom_and_stop_together():
    class World:
        communicator = Talking()

    stop = Stop(World())
    steps = 1
    while not stop.after_step():
        steps += 1
    assert (stop.signal, stop.out_of_time) == (15, False)
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


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGUSR1])
def test_a_second_signal_while_it_saves_changes_nothing(tmp_path, first):
    run = signalled(trainer(tmp_path), 7, first)
    real = run.checkpoints.save

    def save(result, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        real(result, **options)
        os.kill(os.getpid(), signal.SIGTERM)

    run.checkpoints.save = save
    result = run.run()
    assert (result.step, result.saved_step, result.stop_signal) == (7, 7, first)
    assert result.exit_code == 128 + first
    assert trainer(tmp_path).run().resumed_step == 7


def test_a_signal_before_the_first_step_takes_one_and_saves(tmp_path):
    run = signalled(trainer(tmp_path), 1, signal.SIGTERM)
    result = run.run()
    assert (result.step, result.saved_step, result.stop_signal) == (1, 1, signal.SIGTERM)


class SlowDisk(Disk):
    """Sends a signal in the middle of the first part that is written."""

    def __init__(self) -> None:
        self.sent = False

    def pwrite(self, descriptor, data, offset):
        if not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.2)
        return super().pwrite(descriptor, data, offset)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_signal_in_the_middle_of_a_save_leaves_two_whole_checkpoints(tmp_path, asynchronous):
    run = trainer(tmp_path, steps=100_000, checkpoint_every=8, asynchronous=asynchronous)
    run.checkpoints.store._disk = SlowDisk()
    result = run.run()
    assert result.stop_signal == signal.SIGUSR1
    assert 8 <= result.step < 100_000
    names = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))
    assert names[-1] == f"step-{result.step:08}"
    for name in names:
        assert read_checkpoint(tmp_path / "checkpoints" / name).step == int(name[5:])
    assert trainer(tmp_path, steps=result.step + 1).run().resumed_step == result.step
