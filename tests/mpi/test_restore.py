"""Restoring on W2 ranks what W1 ranks wrote: the same bits on all of them, or the same error."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import pytest
from checkpoint_layouts import write_directory, write_file_v1

from hpcad.checkpoint import CheckpointStore
from hpcad.checkpoint.format import DamagedCheckpointError
from hpcad.checkpoint.reading.directory_reader import DirectoryReader
from hpcad.checkpoint.restoring import distribution
from hpcad.checkpoint.restoring import restore as restoring
from hpcad.checkpoint.restoring.restore import restore, restore_newest
from hpcad.errors import CheckpointError
from hpcad.parallel import init
from hpcad.parallel.serial import SerialCommunicator

pytestmark = pytest.mark.mpi

RNG = np.random.default_rng(3)
ARRAYS = {
    "parameters/w": RNG.standard_normal((37, 41)).astype(np.float32),
    "parameters/b": RNG.standard_normal(41).astype(np.float16),
    "optimizer/m/w": RNG.standard_normal((37, 41)),
    "flags": np.array([True, False, True]),
    "count": np.array(5),
    "none": np.empty((0, 2)),
    "large": RNG.integers(0, 255, (3, 1 << 19), np.uint8),
}
STATE = {"cursor": 7, "loss": float("inf")}


@pytest.fixture
def world():
    return init().communicator


@pytest.fixture
def folder(world):
    """A directory that all ranks see."""
    with tempfile.TemporaryDirectory() as own:
        yield Path(world.broadcast_json(own))
        world.barrier()


def on_root(world, action):
    """Run `action` on rank 0 and let all ranks go on when it is done."""
    if world.rank == 0:
        action()
    world.barrier()


def check_same(found, expected=ARRAYS):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("writers", [1, 2, 3, 4])
def test_any_number_of_ranks_reads_what_any_number_wrote(world, folder, writers):
    on_root(world, lambda: write_directory(folder, 4, ARRAYS, STATE, ranks=writers))
    checkpoint = restore_newest(folder, world)
    check_same(checkpoint.arrays)
    assert (checkpoint.step, checkpoint.state) == (4, STATE)


@pytest.mark.parametrize("writers", [1, 2, 3, 4])
def test_what_some_ranks_have_saved_all_ranks_and_each_rank_alone_restore(world, folder, writers):
    """With the store itself: saved by the first ranks in a communicator of their own."""
    if writers > world.size:
        pytest.skip("there are fewer ranks")
    own = world_of(writers)
    if own is not None:
        CheckpointStore(folder, communicator=own, smallest_part=1).save(4, ARRAYS, STATE)
    world.barrier()
    parts = len(list((folder / "step-00000004").glob("*.h5")))
    assert parts == writers
    for communicator in (world, SerialCommunicator()):
        found = restore_newest(folder, communicator)
        check_same(found.arrays)
        assert found.state == STATE


def world_of(count):
    """Return a communicator of the first `count` ranks; None on the others."""
    from mpi4py import MPI

    from hpcad.parallel.choice import COMMUNICATORS

    inside = MPI.COMM_WORLD.Get_rank() < count
    comm = MPI.COMM_WORLD.Split(0 if inside else MPI.UNDEFINED)
    return COMMUNICATORS["mpi"](comm, f"first {count}") if inside else None


@pytest.mark.parametrize("writers", [1, 4])
def test_each_byte_is_read_by_one_rank(world, folder, writers, monkeypatch):
    on_root(world, lambda: write_directory(folder, 4, ARRAYS, STATE, ranks=writers))
    read = []
    real = DirectoryReader.read_slice

    def note(self, spec, piece, out, begin=0):
        read.append(piece.count * spec.itemsize)
        return real(self, spec, piece, out, begin)

    monkeypatch.setattr(DirectoryReader, "read_slice", note)
    restore_newest(folder, world)
    total = np.array([sum(read)])
    world.allreduce(total)
    assert total[0] == sum(array.nbytes for array in ARRAYS.values())


def test_long_arrays_travel_in_several_messages(world, folder, monkeypatch):
    monkeypatch.setattr(distribution, "_MESSAGE", 100_000)
    monkeypatch.setattr(distribution, "_PACKED", 500)
    on_root(world, lambda: write_directory(folder, 4, ARRAYS, STATE, ranks=3))
    check_same(restore_newest(folder, world).arrays)


@pytest.mark.parametrize("writers", [1, 3])
def test_a_slice_of_its_own_on_every_rank(world, folder, writers):
    on_root(world, lambda: write_directory(folder, 4, ARRAYS, STATE, ranks=writers))
    size = ARRAYS["optimizer/m/w"].size
    start, stop = (size * r // world.size for r in (world.rank, world.rank + 1))
    found = restore_newest(folder, world, wanted={"optimizer/m/w": (start, stop - start)})
    mine = ARRAYS["optimizer/m/w"].reshape(-1)[start:stop]
    check_same(found.arrays, ARRAYS | {"optimizer/m/w": mine})


def test_ranks_may_want_different_arrays_in_slices(world, folder):
    on_root(world, lambda: write_directory(folder, 4, ARRAYS, STATE, ranks=2))
    name = ["parameters/w", "large"][world.rank % 2]
    found = restore_newest(folder, world, wanted={name: (10, 20)})
    check_same(found.arrays, ARRAYS | {name: ARRAYS[name].reshape(-1)[10:30]})


def test_a_file_of_version_1(world, folder):
    on_root(world, lambda: write_file_v1(folder, 4, ARRAYS, STATE))
    found = restore_newest(folder, world, wanted={"parameters/w": (world.rank, 3)})
    mine = ARRAYS["parameters/w"].reshape(-1)[world.rank : world.rank + 3]
    check_same(found.arrays, ARRAYS | {"parameters/w": mine})
    assert found.state == STATE


def test_only_what_the_patterns_name(world, folder):
    on_root(world, lambda: write_directory(folder, 4, ARRAYS, STATE, ranks=2))
    found = restore(folder / "step-00000004", world, patterns=["parameters/*"])
    check_same(found.arrays, {n: ARRAYS[n] for n in ("parameters/w", "parameters/b")})
    with pytest.raises(CheckpointError, match="no array that matches 'x\\*'"):
        restore(folder / "step-00000004", world, patterns=["x*"])


def flip(path, offset=-200):
    data = bytearray(path.read_bytes())
    data[offset] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "part"),
    [("flip", 0), ("truncate", 1), ("remove", 2), ("flip", 3)],
)
def test_damage_to_any_part_leads_all_ranks_to_the_older_one(world, folder, harm, part, caplog):
    def write():
        write_directory(folder, 1, ARRAYS, {"step": 1}, ranks=2)
        path = write_directory(folder, 2, ARRAYS, {"step": 2}, ranks=4)
        file = sorted(path.glob("*.h5"))[part]
        if harm == "flip":
            flip(file)
        elif harm == "truncate":
            file.write_bytes(file.read_bytes()[:-1])
        else:
            file.unlink()

    on_root(world, write)
    with caplog.at_level(logging.WARNING):
        found = restore_newest(folder, world)
    assert found.state == {"step": 1}
    check_same(found.arrays)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (1 if world.rank == 0 else 0)
    if world.rank == 0:
        assert "step-00000002 is damaged" in lines[0]


def test_damage_that_one_rank_alone_touches_is_one_of_all(world, folder, caplog):
    """Only the last rank wants the end of the array, and only it finds that it is damaged."""
    name, size = "optimizer/m/w", ARRAYS["optimizer/m/w"].size

    def write():
        write_directory(folder, 1, ARRAYS, {"step": 1}, ranks=2)
        part = sorted(write_directory(folder, 2, ARRAYS, {"step": 2}, ranks=4).glob("*.h5"))[-1]
        data = bytearray(part.read_bytes())
        data[data.index(ARRAYS[name].tobytes()[-64:])] ^= 1
        part.write_bytes(data)

    on_root(world, write)
    start = size - 5 if world.rank == world.size - 1 else 0
    with caplog.at_level(logging.WARNING):
        found = restore_newest(folder, world, wanted={name: (start, 5)})
    assert found.state == {"step": 1}
    check_same(found.arrays, ARRAYS | {name: ARRAYS[name].reshape(-1)[start : start + 5]})
    told = [f"rank {world.size - 1} on " in caplog.text, f"array '{name}'" in caplog.text]
    assert told == [world.rank == 0 and world.size > 1, world.rank == 0]


def test_a_disk_error_of_one_rank_alone_is_one_of_all(world, folder, monkeypatch):
    """The last rank cannot read; the others have read well and must not wait for it."""
    on_root(world, lambda: write_directory(folder, 4, ARRAYS, STATE, ranks=2))
    if world.rank == world.size - 1:

        def fail(*arguments):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(DirectoryReader, "read_slice", fail)
    with pytest.raises(DamagedCheckpointError, match="Input/output error"):
        restore(folder / "step-00000004", world)


def test_too_little_memory_on_one_rank_is_an_error_on_all(world, folder, monkeypatch):
    on_root(world, lambda: write_directory(folder, 4, ARRAYS, STATE, ranks=2))
    if world.rank == world.size - 1:

        def fail(*arguments, **keywords):
            raise MemoryError

        monkeypatch.setattr(restoring, "_allocate", fail)
    with pytest.raises(CheckpointError, match="does not fit into memory") as caught:
        restore_newest(folder, world)
    assert not isinstance(caught.value, DamagedCheckpointError)


@pytest.mark.parametrize("wanted", [("count", 0, 2), ("absent", 0, 1)])
def test_a_slice_that_is_not_there_is_an_error_on_all(world, folder, wanted):
    on_root(world, lambda: write_directory(folder, 4, ARRAYS, STATE, ranks=2))
    name, start, count = wanted
    mine = {name: (start, count)} if world.rank == world.size - 1 else {}
    with pytest.raises(CheckpointError, match=name):
        restore(folder / "step-00000004", world, wanted=mine)


def test_nothing_there(world, folder):
    assert restore_newest(folder, world) is None
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        restore(folder / "step-00000009", world)


def test_all_of_them_damaged(world, folder):
    on_root(world, lambda: write_directory(folder, 1, ARRAYS, STATE, ranks=2))
    on_root(world, lambda: flip(folder / "step-00000001" / "manifest.json"))
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints in"):
        restore_newest(folder, world)
