"""One rank touches the file system; all ranks hold the same checkpoint or raise together."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import pytest

from hpcad.checkpoint import CheckpointStore, require_match, writer
from hpcad.checkpoint import store as store_module
from hpcad.errors import CheckpointError
from hpcad.parallel import init

pytestmark = pytest.mark.mpi(min_size=2)

ARRAYS = {
    "parameters/w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "flags": np.array([True, False]),
    "half": np.arange(3, dtype=np.float16),
    "count": np.array(5),
    "none": np.empty((0, 2)),
}


@pytest.fixture
def world():
    return init()


@pytest.fixture
def store(world):
    """A store in a directory of rank 0 that the other ranks do not see for certain."""
    communicator = world.communicator
    with tempfile.TemporaryDirectory() as own:
        directory = communicator.broadcast_json(own)
        yield CheckpointStore(directory, communicator=communicator)
        communicator.barrier()


def test_every_rank_gets_the_arrays_of_rank_0(world, store):
    own = {
        name: array + world.rank if array.dtype != bool else array for name, array in ARRAYS.items()
    }
    path = store.save(4, own, {"rank": world.rank})
    newest = store.latest()
    assert newest.path == path
    assert newest.step == 4
    assert newest.state == {"rank": 0}
    assert list(newest.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert newest.arrays[name].dtype == array.dtype, name
        assert newest.arrays[name].shape == array.shape, name
        assert np.array_equal(newest.arrays[name], array), name


def test_nothing_there(store):
    assert store.latest() is None
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        store.load()


def test_only_rank_0_reads(world, store, monkeypatch):
    store.save(1, ARRAYS, {})
    reads = []
    real = store_module.read_checkpoint
    monkeypatch.setattr(store_module, "read_checkpoint", lambda p: reads.append(p) or real(p))
    store.latest()
    assert len(reads) == (1 if world.is_root else 0)


def test_a_damaged_newest_is_skipped_by_all(world, store, caplog):
    store.save(1, ARRAYS, {"step": 1})
    path = store.save(2, ARRAYS, {"step": 2})
    if world.is_root:
        path.write_bytes(path.read_bytes()[:-50])
    with caplog.at_level(logging.WARNING):
        assert store.latest().state == {"step": 1}
    assert ("is damaged" in caplog.text) == world.is_root


def test_a_full_disk_is_an_error_on_every_rank(world, store, monkeypatch):
    store.save(1, ARRAYS, {"step": 1})

    def full(descriptor, data, offset):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writer.os, "pwrite", full)
        with pytest.raises(CheckpointError, match="No space left on device") as caught:
            store.save(2, ARRAYS, {"step": 2})
    assert str(caught.value).startswith("rank 0 on ") == (not world.is_root)
    assert store.latest().state == {"step": 1}
    if world.is_root:
        assert [path.name for path in Path(store.directory).iterdir()] == ["step-00000001.h5"]


def test_another_model_is_an_error_on_every_rank(store):
    store.save(1, ARRAYS, {})
    newest = store.latest()
    expected = {name: (a.shape, a.dtype) for name, a in ARRAYS.items()}
    expected["parameters/w"] = ((4, 3), np.float32)
    with pytest.raises(CheckpointError, match=r"'w' has shape \(3, 4\) in the checkpoint"):
        require_match(newest.arrays, expected, newest.path)
