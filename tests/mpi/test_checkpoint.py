"""All ranks write one checkpoint: it is there for all of them or for none, whoever fails."""

from __future__ import annotations

import errno
import logging
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim
from hpcad.checkpoint import CheckpointStore, Slice, require_match
from hpcad.checkpoint.disk import Disk
from hpcad.errors import CheckpointError
from hpcad.parallel import init

pytestmark = pytest.mark.mpi(min_size=2)

ARRAYS = {
    "parameters/w": np.arange(60_000, dtype=np.float32).reshape(200, 300),
    "flags": np.array([True, False]),
    "half": np.arange(3, dtype=np.float16),
    "count": np.array(5),
    "none": np.empty((0, 2)),
}


@pytest.fixture
def world():
    return init()


@pytest.fixture
def directory(world):
    with tempfile.TemporaryDirectory() as own:
        yield Path(world.communicator.broadcast_json(own))
        world.communicator.barrier()


@pytest.fixture
def store(world, directory):
    return CheckpointStore(directory, communicator=world.communicator, smallest_part=1)


def require_same(found, expected) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert np.array_equal(found[name], array), name


@pytest.mark.parametrize("wait", [True, False])
def test_every_rank_writes_a_part_and_gets_all(world, store, wait):
    path = store.save(4, ARRAYS, {"rank": world.rank}, wait=wait)
    store.drain()
    assert len(list(path.glob("*.h5"))) == world.size
    sizes = [part.stat().st_size for part in path.glob("*.h5")]
    assert max(sizes) - min(sizes) <= 4 * 4096
    newest = store.latest()
    assert (newest.path, newest.step) == (path, 4)
    assert newest.state == {"rank": 0}
    require_same(newest.arrays, ARRAYS)


def test_little_state_is_one_part(world, directory):
    store = CheckpointStore(directory, communicator=world.communicator)
    path = store.save(4, ARRAYS, {})
    assert len(list(path.glob("*.h5"))) == 1
    require_same(store.latest().arrays, ARRAYS)


def test_slices_become_one_array(world, store):
    """Rows 2r, 2r+1 on rank r; the last rank holds none of another array."""
    rows = np.arange(2 * world.size * 3.0).reshape(-1, 3)
    own = Slice(rows[2 * world.rank :][:2], rows.shape, 6 * world.rank)
    short = np.arange(world.size - 1)
    arrays = {
        "rows": own,
        "short": Slice(short[world.rank :][:1], short.shape, min(world.rank, world.size - 1)),
        **ARRAYS,
    }
    store.save(1, arrays, {})
    require_same(store.latest().arrays, {"rows": rows, "short": short, **ARRAYS})


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("gap", "do not cover it exactly once"),
        ("overlap", "do not cover it exactly once"),
        ("short", r"hold \d+ elements of shape"),
        ("shape", "differ in dtype or whole shape"),
        ("mixed", "the ranks do not save the same"),
    ],
)
def test_slices_that_do_not_fit_are_refused_everywhere(world, store, what, words):
    size, rank = world.size, world.rank
    start = rank
    if rank == size - 1:
        start += {"gap": 1, "overlap": -1}.get(what, 0)
    length = {"gap": 2, "short": 1}.get(what, 0) + size
    shape = (length + (what == "shape" and rank == 0),)
    array = Slice(np.zeros(1), shape, start)
    given = np.zeros(shape) if what == "mixed" and rank == 0 else array
    with pytest.raises(CheckpointError, match=words):
        store.save(1, {"w": given}, {})
    assert store.latest() is None


@pytest.mark.parametrize("what", ["step", "shape", "name", "order", "count"])
def test_ranks_that_save_different_things_are_refused_everywhere(world, store, what):
    odd = world.rank == world.size - 1
    arrays = {"a": np.zeros(3), "b": np.ones(3)}
    if odd and what == "shape":
        arrays["a"] = np.zeros(4)
    if odd and what == "name":
        arrays = {"c": np.zeros(3), "b": np.ones(3)}
    if odd and what == "order":
        arrays = dict(reversed(arrays.items()))
    if odd and what == "count":
        del arrays["b"]
    with pytest.raises(CheckpointError, match="the ranks do not save the same"):
        store.save(2 if odd and what == "step" else 1, arrays, {})


def test_an_array_that_cannot_be_stored_on_one_rank(world, store):
    odd = world.rank == world.size - 1
    with pytest.raises(CheckpointError, match=r"'w' has dtype complex128"):
        store.save(1, {"w": np.zeros(3, complex if odd else float)}, {})


def test_nothing_there(store):
    assert store.latest() is None
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        store.load()


def test_a_damaged_newest_is_skipped_by_all(world, store, caplog):
    store.save(1, ARRAYS, {"step": 1})
    path = store.save(2, ARRAYS, {"step": 2})
    if world.is_root:
        part = sorted(path.glob("*.h5"))[-1]
        part.write_bytes(part.read_bytes()[:-4096])
    world.communicator.barrier()
    with caplog.at_level(logging.WARNING):
        assert store.latest().state == {"step": 1}
    assert ("is damaged" in caplog.text) == world.is_root


class Full(Disk):
    """Has no room for files whose names end with `suffix`."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self._full: set[int] = set()

    def create(self, path, *, direct=False):
        descriptor = super().create(path, direct=direct)
        if path.name.endswith(self.suffix) or f"{self.suffix}." in path.name:
            self._full.add(descriptor)
        return descriptor

    def close(self, descriptor):
        self._full.discard(descriptor)
        super().close(descriptor)

    def pwrite(self, descriptor, data, offset):
        if descriptor in self._full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().pwrite(descriptor, data, offset)


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("where", ["first", "last", "manifest"])
def test_a_full_disk_on_one_rank_is_an_error_on_every_rank(world, directory, store, where, wait):
    store.save(1, ARRAYS, {"step": 1})
    suffix = {"first": "-0000.h5", "last": f"-{world.size - 1:04d}.h5", "manifest": "manifest.json"}
    failing = CheckpointStore(
        directory, communicator=world.communicator, disk=Full(suffix[where]), smallest_part=1
    )
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        (failing.save(2, ARRAYS, {"step": 2}, wait=wait), failing.drain())
    guilty = world.size - 1 if where == "last" else 0
    assert str(caught.value).startswith(f"rank {guilty} on ") == (world.rank != guilty)
    world.communicator.barrier()
    assert sorted(path.name for path in directory.iterdir()) == ["latest", "step-00000001"]
    assert store.latest().state == {"step": 1}


class Slow(Disk):
    """Takes a while for parts."""

    def create(self, path, *, direct=False):
        if path.suffix == ".h5":
            time.sleep(0.2)
        return super().create(path, direct=direct)


def test_polls_end_at_the_same_call_on_all_ranks(world, directory):
    """One rank is slower than the others; nobody goes on alone."""
    disk = Slow() if world.rank == world.size - 1 else Disk()
    store = CheckpointStore(directory, communicator=world.communicator, disk=disk, smallest_part=1)
    path = store.save(1, ARRAYS, {}, wait=False)
    polls = 1
    while (saved := store.poll()) is None:
        polls += 1
        time.sleep(0.01)
    assert set(world.communicator.gather_json(polls)) == {polls}
    assert saved.path == path
    assert saved.write_seconds >= 0.15
    require_same(store.latest().arrays, ARRAYS)


def test_an_error_in_the_background_surfaces_at_the_same_poll(world, directory):
    disk = Full(".h5") if world.rank == world.size - 1 else Disk()
    store = CheckpointStore(directory, communicator=world.communicator, disk=disk, smallest_part=1)
    store.save(1, ARRAYS, {}, wait=False)
    polls = 0
    try:
        while True:
            polls += 1
            store.poll()
    except CheckpointError as error:
        message = str(error)
    assert "No space left on device" in message
    assert set(world.communicator.gather_json(polls)) == {polls}
    assert store.latest() is None
    store.save(1, {}, {})


def test_polls_without_a_save_make_no_collective(world, store, monkeypatch):
    monkeypatch.setattr(type(world.communicator), "allreduce", None)
    assert store.poll() is None
    assert store.drain() is None
    store.reclaim()


def test_another_model_is_an_error_on_every_rank(store):
    store.save(1, ARRAYS, {})
    newest = store.latest()
    expected = {name: (a.shape, a.dtype) for name, a in ARRAYS.items()}
    expected["parameters/w"] = ((300, 200), np.float32)
    with pytest.raises(CheckpointError, match=r"'w' has shape \(200, 300\) in the checkpoint"):
        require_match(newest.arrays, expected, newest.path)


def trainer(directory, **options):
    model = nn.Linear(3, 2).initialize(1)
    x = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    return hpcad.Trainer(
        model,
        optim.Adam(model, 1e-3),
        hpcad.ArrayDataset({"x": x}),
        loss=lambda m, batch: (m(batch["x"]) ** 2).mean(),
        directory=directory,
        **({"batch": 20, "steps": 20, "log_every": 1000, "checkpoint_every": 2} | options),
    )


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_run_continues_from_a_save_beside_the_training(directory, world, asynchronous):
    whole = trainer(None)
    whole.run()
    trainer(directory, steps=11, asynchronous=asynchronous).run()
    again = trainer(directory, asynchronous=asynchronous)
    result = again.run()
    assert (result.resumed_step, result.saved_step) == (11, 20)
    assert result.checkpoint == directory / "checkpoints" / "step-00000020"
    for p, q in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert np.array_equal(p.value, q.value)


def test_a_signal_to_one_rank_stops_all_at_one_step_with_a_checkpoint(directory, world):
    run = trainer(directory, steps=100_000, checkpoint_every=50_000)
    real = run._step

    def taken(batch, phases):
        if run.result.step == 30 and world.rank == world.size - 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        return real(batch, phases)

    run._step = taken
    result = run.run()
    assert result.stop_signal == signal.SIGUSR1
    assert 31 <= result.step < 100_000
    assert set(world.communicator.gather_json(result.step)) == {result.step}
    assert result.saved_step == result.step
    assert trainer(directory, steps=result.step).run().resumed_step == result.step
