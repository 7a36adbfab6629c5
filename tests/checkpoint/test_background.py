"""Asynchronous saves: what is saved is the state at the call, and errors are not lost."""

from __future__ import annotations

import errno
import threading

import numpy as np
import pytest

from hpcad.checkpoint import CheckpointStore
from hpcad.checkpoint import store as store_module
from hpcad.checkpoint.disk import Disk
from hpcad.checkpoint.saving.background import Job, Worker
from hpcad.errors import CheckpointError
from hpcad.parallel.serial import SerialCommunicator


class Gated(Disk):
    """Writes no part before the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def create(self, path, *, direct=False):
        if path.suffix == ".h5":
            assert self.gate.wait(20)
        return super().create(path, direct=direct)


@pytest.fixture
def disk():
    made = Gated()
    yield made
    made.gate.set()


@pytest.fixture
def store(tmp_path, disk):
    return CheckpointStore(tmp_path, disk=disk)


def test_save_returns_before_the_checkpoint_is_there(store, disk, arrays, same):
    path = store.save(1, arrays, {"step": 1}, wait=False)
    assert store.poll() is None
    assert not (path / "manifest.json").exists()
    disk.gate.set()
    saved = store.drain()
    assert (saved.path, saved.step) == (path, 1)
    assert saved.bytes == sum(array.nbytes for array in arrays.values())
    same(store.latest().arrays, arrays)


def test_the_values_are_those_at_the_call(store, disk, arrays, same):
    """Parameters that are changed in place afterwards do not reach the file."""
    expected = {name: array.copy() for name, array in arrays.items()}
    state = {"step": 1, "list": [1]}
    store.save(1, arrays, state, wait=False)
    for array in arrays.values():
        array += 1
    state["list"].append(2)
    disk.gate.set()
    store.drain()
    newest = store.latest()
    same(newest.arrays, expected)
    assert newest.state == {"step": 1, "list": [1]}


def test_lent_arrays_may_be_changed_after_reclaim(store, disk, arrays, same):
    expected = {name: array.copy() for name, array in arrays.items()}
    store.save(1, arrays, {}, wait=False, lent=list(arrays))
    store.reclaim()
    for array in arrays.values():
        array += 1
    disk.gate.set()
    store.drain()
    same(store.latest().arrays, expected)


def test_reclaim_waits_for_the_copy(tmp_path, arrays, monkeypatch):
    gate, real = threading.Event(), store_module.SecondBuffer.copy_lent

    def slow(buffer):
        assert gate.wait(20)
        real(buffer)

    monkeypatch.setattr(store_module.SecondBuffer, "copy_lent", slow)
    store = CheckpointStore(tmp_path)
    store.save(1, arrays, {}, wait=False, lent=list(arrays))
    waiting = threading.Thread(target=store.reclaim)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    gate.set()
    waiting.join(20)
    assert not waiting.is_alive()
    store.drain()


def test_poll_and_reclaim_without_a_save(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path)
    monkeypatch.setattr(SerialCommunicator, "allreduce", None)  # no collective at all
    monkeypatch.setattr(SerialCommunicator, "gather_json", None)
    assert store.poll() is None
    assert store.drain() is None
    store.reclaim()


def test_poll_tells_of_every_save_once(store, disk, arrays):
    disk.gate.set()
    store.save(1, arrays, {}, wait=False)
    store.save(2, arrays, {}, wait=False)
    steps = []
    while len(steps) < 2:
        if (saved := store.poll()) is not None:
            steps.append(saved.step)
    assert steps == [1, 2]
    assert store.poll() is None


def test_a_save_waits_for_the_one_before_it(store, disk, arrays):
    store.save(1, arrays, {}, wait=False)
    threading.Timer(0.05, disk.gate.set).start()
    store.save(2, arrays, {}, wait=False)
    assert store.waits == 1
    assert [path.name for path in store.paths()] == ["step-00000001"]
    store.drain()
    assert [path.name for path in store.paths()] == ["step-00000002", "step-00000001"]


class Full(Disk):
    def pwrite(self, descriptor, data, offset):
        raise OSError(errno.ENOSPC, "No space left on device")


def poll_for_ever(store):
    while True:
        store.poll()


def test_errors_of_the_background_surface_at_a_poll(tmp_path, arrays):
    CheckpointStore(tmp_path).save(1, arrays, {})
    store = CheckpointStore(tmp_path, disk=Full())
    store.save(2, arrays, {}, wait=False)
    with pytest.raises(CheckpointError, match=r"step 2 .*No space left on device"):
        poll_for_ever(store)
    assert store.poll() is None  # told once
    assert store.latest().step == 1
    assert not (tmp_path / "step-00000002").exists()


@pytest.mark.parametrize("last", ["save", "drain"])
def test_errors_of_the_background_surface_at_the_latest_in_the_next_save(tmp_path, arrays, last):
    store = CheckpointStore(tmp_path, disk=Full())
    store.save(2, arrays, {}, wait=False)
    with pytest.raises(CheckpointError, match="No space left on device"):
        store.drain() if last == "drain" else store.save(3, arrays, {})


def test_the_second_buffer_is_kept(store, disk, arrays):
    disk.gate.set()
    store.save(1, arrays, {}, wait=False)
    store.drain()
    image = store._buffer.image
    store.save(2, arrays, {}, wait=False)
    store.drain()
    assert store._buffer.image is image
    store.save(3, {"other": np.zeros(3)}, {}, wait=False)
    store.drain()
    assert store.latest().arrays["other"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("wait", [True, False])
def test_numbers_that_are_not_finite_are_refused_where_asked(tmp_path, arrays, bad, wait):
    store = CheckpointStore(tmp_path)
    store.save(1, arrays, {}, finite=list(arrays))
    arrays["parameters/fc1.bias"][3] = bad
    store.save(2, arrays, {}, finite=["optimizer/m/fc1.weight"])
    with pytest.raises(CheckpointError, match=r"'parameters/fc1.bias' is no longer finite"):
        (store.save(3, arrays, {}, finite=list(arrays), wait=wait), store.drain())
    assert store.latest().step == 2


@pytest.mark.alone
def test_the_stall_is_measured(store, disk, arrays):
    store.save(1, arrays, {}, wait=False)
    threading.Timer(0.2, disk.gate.set).start()
    saved = store.drain()
    assert 0.15 < saved.held_seconds < saved.seconds + 0.05
    assert str(saved).startswith("checkpoint: held the step ")


def test_a_job_keeps_result_and_error():
    job = Job(lambda: 3)
    job.start(Worker())
    job.wait()
    assert (job.done, job.result, job.error) == (True, 3, None)
    job = Job(lambda: 1 / 0)
    job.start(None)
    assert job.done
    assert isinstance(job.error, ZeroDivisionError)


def test_a_worker_has_one_thread_that_ends_with_it():
    before = set(threading.enumerate())
    worker = Worker()
    seen = []
    for _ in range(3):
        job = Job(lambda: seen.append(threading.current_thread()))
        job.start(worker)
        job.wait()
    (thread,) = set(threading.enumerate()) - before
    assert seen == [thread] * 3
    del worker
    thread.join(20)
    assert not thread.is_alive()


def test_a_job_without_a_thread_is_done_at_once(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    job = Job(lambda: 3)
    job.start(Worker())
    assert job.result == 3
