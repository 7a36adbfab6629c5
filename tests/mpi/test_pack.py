"""Packing and looking at datasets on any number of ranks gives what one rank gives."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.bench import bench
from hpcad.data.packing.merge import merged_source
from hpcad.data.packing.progress import Progress
from hpcad.data.packing.split import split_sources
from hpcad.data.sources import npy_source
from hpcad.data.stats import survey
from hpcad.errors import DataError, HpcadError
from hpcad.parallel import SerialCommunicator, init

pytestmark = pytest.mark.mpi

X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)


@pytest.fixture
def world():
    return init().communicator


@pytest.fixture
def folder(world):
    """A directory that all ranks see, with ``x.npy`` in it."""
    with tempfile.TemporaryDirectory() as own:
        shared = Path(world.broadcast_json(own))
        if world.rank == 0:
            np.save(shared / "x.npy", X)
        world.barrier()
        yield shared
        world.barrier()


def listed(world, folder):
    """What is in a directory when all ranks have come."""
    world.barrier()
    found = sorted(os.listdir(folder))
    world.barrier()
    return found


def alone(world, folder, **options):
    """The hash of the dataset that rank 0 packs by itself."""
    found = None
    if world.rank == 0:
        found = pack(npy_source(folder / "x.npy"), folder / "alone", **options).hash
    return world.broadcast_json(found)


@pytest.mark.parametrize("shard_samples", [1, 7, 50, 99])
def test_the_dataset_does_not_depend_on_the_number_of_ranks(world, folder, shard_samples):
    lines = []
    manifest = pack(
        npy_source(folder / "x.npy"),
        folder / "d",
        shard_samples=shard_samples,
        communicator=world,
        progress=lines.append,
    )
    assert manifest.hash == alone(world, folder, shard_samples=shard_samples)
    assert bool(lines) == (world.rank == 0)
    np.testing.assert_array_equal(open_dataset(folder / "d", world).read(np.arange(50))["x"], X)
    assert listed(world, folder) == ["alone", "d", "x.npy"]


def test_an_error_of_one_rank_ends_all_and_leaves_nothing(world, folder):
    source = npy_source(folder / "x.npy")

    def chunks(start, stop):
        if start == 7 * (world.size - 1) and world.rank == world.size - 1:
            raise DataError("the source is damaged")
        return source.chunks(start, stop)

    with pytest.raises(DataError, match="the source is damaged"):
        pack(replace(source, chunks=chunks), folder / "d", shard_samples=7, communicator=world)
    assert listed(world, folder) == ["x.npy"]


def test_broken_off_on_all_ranks_it_goes_on_on_all(world, folder):
    source = npy_source(folder / "x.npy")

    def chunks(start, stop):
        if start >= 25:
            raise DataError("the storage has gone")
        return source.chunks(start, stop)

    options = {"shard_samples": 5, "communicator": world, "resume": True}
    with pytest.raises(DataError, match="the storage has gone"):
        pack(replace(source, chunks=chunks), folder / "d", **options)
    lines = []
    manifest = pack(source, folder / "d", progress=lines.append, **options)
    assert manifest.hash == alone(world, folder, shard_samples=5)
    if world.rank == 0:
        assert len(lines) - 1 <= -(-5 // world.size) + 1
    assert listed(world, folder) == ["alone", "d", "x.npy"]


def test_what_several_ranks_began_one_finishes(world, folder):
    source = npy_source(folder / "x.npy")

    def chunks(start, stop):
        if start >= 25:
            raise DataError("the storage has gone")
        return source.chunks(start, stop)

    with pytest.raises(DataError, match="the storage has gone"):
        pack(
            replace(source, chunks=chunks),
            folder / "d",
            shard_samples=5,
            communicator=world,
            resume=True,
        )
    if world.rank == 0:
        found = pack(source, folder / "d", shard_samples=5, resume=True)
        assert found.hash == pack(source, folder / "e", shard_samples=5).hash
    world.barrier()


def test_a_taken_place_is_an_error_on_all(world, folder):
    if world.rank == 0:
        (folder / "d").mkdir()
        (folder / "d" / "mine").touch()
    world.barrier()
    with pytest.raises(DataError, match="files that are no dataset"):
        pack(npy_source(folder / "x.npy"), folder / "d", communicator=world)


def test_ranks_with_other_sources_are_told(world, folder):
    if world.size == 1:
        pytest.skip("one rank has one source")
    own = folder / f"x{world.rank}.npy"
    np.save(own, X[: 40 + world.rank])
    with pytest.raises(HpcadError, match="not the same on all ranks: count was 40"):
        pack(npy_source(own), folder / "d", shard_samples=7, communicator=world)
    assert "d" not in listed(world, folder)


def test_split_merge_and_stats_do_not_depend_on_the_number_of_ranks(world, folder):
    pack(npy_source(folder / "x.npy"), folder / "d", shard_samples=7, communicator=world)
    dataset = open_dataset(folder / "d", world)
    first, second = split_sources(dataset, {"a": 0.6, "b": 0.4}, seed=3)
    merged = []
    for name, how in (("one", SerialCommunicator()), ("all", world)):
        if how is world or world.rank == 0:
            for part, source in (("a", first), ("b", second)):
                pack(source, folder / name / part, shard_samples=4, communicator=how)
        world.barrier()
        parts = [open_dataset(folder / name / part) for part in ("a", "b")]
        merged.append((parts[0].hash, parts[1].hash))
    assert merged[0] == merged[1]
    source = merged_source(parts)
    assert sorted(map(tuple, np.concatenate([c["x"] for c in source.chunks(0, 50)]).tolist())) == (
        sorted(map(tuple, X.tolist()))
    )
    found = survey(dataset, world, progress=Progress())["x"]
    by_one = survey(dataset, SerialCommunicator(), progress=Progress())["x"]
    assert found.moments == by_one.moments == dataset.manifest.statistics["x"]
    np.testing.assert_array_equal(found.counts, by_one.counts)
    assert found.counts.sum() == X.size


def test_all_ranks_together_read_what_is_measured(world, folder):
    pack(npy_source(folder / "x.npy"), folder / "d", shard_samples=7, communicator=world)
    dataset = open_dataset(folder / "d", world, verify=False)
    ways = bench(dataset, 8, world, batches=3)
    assert [way.name for way in ways] == 2 * ["Dataset.read", "raw preadv"]
    for way in ways:
        assert (way.samples, way.nbytes) == (3 * 24, 3 * 24 * 16)
        assert len(way.batches) == 9 * world.size
    with pytest.raises(DataError, match="cannot be divided over"):
        bench(dataset, 0, world)
