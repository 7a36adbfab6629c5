"""Staging on several nodes, which directories of one machine stand for. On any number of ranks."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.manifest.contents import FILE_NAME
from hpcad.data.sources import array_source
from hpcad.data.staging import node as stage_node
from hpcad.data.staging import transfer as stage_transfer
from hpcad.data.staging.plan import pieces
from hpcad.data.staging.room import NoRoomError
from hpcad.data.staging.stage import stage
from hpcad.errors import DataError
from hpcad.parallel import init

from .groups import make_group

pytestmark = pytest.mark.mpi

N = 300
NODES = {
    "one node": lambda rank: 0,
    "a node for each rank": lambda rank: rank,
    "nodes of 2": lambda rank: 10 - rank // 2,  # three ranks make an uneven pair of them
    "ranks dealt in turn": lambda rank: rank % 2,
}


@pytest.fixture(scope="module")
def world():
    return init().communicator


@pytest.fixture
def folder(world):
    """A directory that all ranks see, with a packed dataset."""
    with tempfile.TemporaryDirectory() as own:
        place = Path(world.broadcast_json(own))
        if world.rank == 0:
            x = np.random.default_rng(0).standard_normal((N, 7)).astype("f4")
            fields = {"x": x, "y": np.arange(N)}
            pack(array_source(fields), place / "set", shard_samples=64)
        world.barrier()
        yield place
        world.barrier()


@pytest.fixture
def small(monkeypatch):
    """Pieces so small, and batches of so few files, that there are many of both."""
    monkeypatch.setattr("hpcad.data.staging.work.pieces", lambda s, f: pieces(s, f, 1000))
    monkeypatch.setattr(
        "hpcad.data.staging.work.batches", lambda s, f: [f[i : i + 2] for i in range(0, len(f), 2)]
    )


@pytest.fixture
def reads(monkeypatch):
    """Which bytes of the shared files this rank has read: (file name, start, stop)."""
    found, preadv = [], os.preadv

    def counted(descriptor, buffers, offset):
        count = preadv(descriptor, buffers, offset)
        found.append((os.readlink(f"/proc/self/fd/{descriptor}"), offset, offset + count))
        return count

    monkeypatch.setattr(stage_transfer.os, "preadv", counted)
    return found


def on_root(world, action):
    if world.rank == 0:
        action()
    world.barrier()


def check_copy(world, staged, source):
    copy, original = open_dataset(staged, world), open_dataset(source, world)
    assert copy.hash == original.hash
    ids = np.random.default_rng(world.rank).permutation(N)
    for name, array in original.read(ids).items():
        np.testing.assert_array_equal(copy.read(ids)[name], array)


def read_once(group, reads, files):
    """Whether all ranks together have read every byte of files exactly once."""
    every = sorted(tuple(each) for part in group.gather_json(reads) for each in part)
    for path in files:
        mine = [(start, stop) for name, start, stop in every if name == str(path)]
        assert [start for start, _ in mine] == [0, *(stop for _, stop in mine[:-1])]
        assert mine[-1][1] == path.stat().st_size
    assert {name for name, _, _ in every} == set(map(str, files))


@pytest.mark.parametrize(
    ("by", "kind"), [*(("world", kind) for kind in NODES), ("naive", "nodes of 2")]
)
def test_every_byte_is_read_once_and_every_node_has_all(by, folder, small, reads, kind):
    group = make_group(by)
    node = NODES[kind](group.rank)
    staged = stage(folder / "set", folder / f"node{node}", group, node)
    assert staged.path.parent == folder / f"node{node}"
    read_once(group, reads, sorted((folder / "set").glob("*.h5")))
    check_copy(group, staged, folder / "set")
    for path in sorted((folder / "set").glob("*.h5")):
        assert (staged.path / path.name).read_bytes() == path.read_bytes()
        assert not (staged.path / path.name).is_symlink()
    mine = sum(stop - start for _, start, stop in reads)
    told = group.gather_json([node, mine])
    by_node = [sum(n for other, n in told if other == each) for each in {n for n, _ in told}]
    if kind != "nodes of 2" or group.size != 3:
        assert max(by_node) - min(by_node) <= 3 * 2000  # per batch, a piece and a shorter one
    group.barrier()


@pytest.mark.parametrize("kind", NODES)
def test_a_part_each_and_links_to_the_rest(world, folder, small, reads, kind):
    node = NODES[kind](world.rank)
    staged = stage(folder / "set", folder / f"node{node}", world, node, share="part")
    files = sorted((folder / "set").glob("*.h5"))
    read_once(world, reads, files)
    check_copy(world, staged, folder / "set")
    mine = [path.name for path in files if not (staged.path / path.name).is_symlink()]
    told = world.gather_json([node, mine])
    parts = dict(told)
    assert sorted(name for names in parts.values() for name in names) == [f.name for f in files]
    again = stage(folder / "set", folder / f"node{node}", world, node, share="part")
    assert (again.path, again.read_bytes) == (staged.path, 0)
    world.barrier()


def test_a_node_that_has_it_already_helps_the_others(world, folder, small, reads):
    """The first node has everything, the last one lacks a file, the others have nothing."""
    source, node = folder / "set", world.rank
    file = source / "shard-00002.h5"
    if node == 0 or node == world.size - 1:
        from hpcad.parallel.serial import SerialCommunicator

        there = stage(source, folder / f"node{node}", SerialCommunicator())
        if node:
            (there.path / file.name).unlink()
    world.barrier()
    reads.clear()
    staged = stage(source, folder / f"node{node}", world, node)
    missing = [[], [file], sorted(source.glob("*.h5"))][min(world.size - 1, 2)]
    read_once(world, reads, missing)
    check_copy(world, staged, source)
    world.barrier()


def test_a_node_without_room_is_named_on_all_ranks(world, folder, monkeypatch):
    last = world.size - 1
    if world.rank == last:
        monkeypatch.setattr(stage_node, "free_bytes", lambda path: 0)
    with pytest.raises(NoRoomError, match=rf"node {last} needs .*/node{last};"):
        stage(folder / "set", folder / f"node{world.rank}", world, world.rank)
    assert not list((folder / f"node{world.rank}").iterdir())


@pytest.mark.parametrize("call", ["pwrite", "preadv"])
def test_an_error_of_one_rank_is_one_of_all_and_the_rest_is_resumed(
    world, folder, small, monkeypatch, call
):
    node, calls = world.rank, []
    real = getattr(os, call)

    def failing(*arguments):
        calls.append(None)
        if len(calls) > 10:
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments)

    with monkeypatch.context() as patch:
        if world.rank == world.size - 1:
            patch.setattr(stage_transfer.os, call, failing)
        with pytest.raises(DataError, match="Input/output error"):
            stage(folder / "set", folder / f"node{node}", world, node)
    staged = stage(folder / "set", folder / f"node{node}", world, node)
    check_copy(world, staged, folder / "set")
    assert list((folder / f"node{node}").iterdir()) == [staged.path]
    world.barrier()


def test_a_piece_that_is_damaged_on_its_way_is_noticed(world, folder, small, monkeypatch):
    """A bit flips in what the first rank receives."""
    if world.size == 1:
        pytest.skip("nothing travels")
    exchange = type(world).sendrecv

    def flipping(self, array, dest, out, source, tag=0, name=""):
        exchange(self, array, dest, out, source, tag, name)
        if self.rank == 0 and out.size:
            out[out.size // 2] ^= 16

    monkeypatch.setattr(type(world), "sendrecv", flipping)
    with pytest.raises(DataError, match="were damaged on their way"):
        stage(folder / "set", folder / f"node{world.rank}", world, world.rank)


def test_a_directory_that_several_nodes_see_is_an_error(world, folder):
    if world.size == 1:
        pytest.skip("there is one node")
    with pytest.raises(DataError, match="is seen by more than one node"):
        stage(folder / "set", folder / "common", world, world.rank)


def test_a_dataset_that_is_not_there_is_an_error_on_all(world, folder):
    with pytest.raises(DataError, match="no such dataset"):
        stage(folder / "absent", folder / "local", world, 0)


def test_each_node_removes_its_copy(world, folder):
    place = folder / f"node{world.rank // 2}"
    with stage(folder / "set", place, world, world.rank // 2, keep=False) as staged:
        assert (staged.path / FILE_NAME).exists()
    world.barrier()
    assert not list(place.iterdir())
    world.barrier()
