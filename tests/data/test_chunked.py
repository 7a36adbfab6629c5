"""Chunks are read without HDF5, decoded once, and never silently wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from hpcad.data import BlockOrder, Loader, open_dataset, pack
from hpcad.data.manifest.contents import ShardEntry
from hpcad.data.shards import chunked
from hpcad.data.shards.chunk_cache import ChunkCache
from hpcad.data.shards.chunk_index import chunk_places
from hpcad.data.shards.opening import open_shard
from hpcad.data.shards.writer import Layout, write_shard
from hpcad.data.sources import array_source
from hpcad.errors import DataError

X = np.random.default_rng(0).integers(0, 100, (20_000, 8)).astype(np.float32)
ZIPPED = Layout(chunked=True, compress=1)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> ChunkCache:
    fresh = ChunkCache()
    monkeypatch.setattr(chunked, "CACHE", fresh)
    return fresh


@pytest.fixture
def entry(tmp_path: Path) -> ShardEntry:
    return write_shard(tmp_path / "a.h5", {"x": X}, layout=ZIPPED)


def test_each_chunk_is_decoded_once(tmp_path: Path, entry: ShardEntry, cache: ChunkCache) -> None:
    array = open_shard(tmp_path, entry, verify=False)["x"]
    out = np.empty_like(X)
    rows = np.random.default_rng(1).permutation(len(X))
    for _ in range(3):
        array.read(rows, out)
        np.testing.assert_array_equal(out, X[rows])
    assert cache.decoded == -(-len(X) // entry.arrays["x"].chunk)


def test_a_batch_larger_than_the_cache_decodes_each_chunk_once(
    tmp_path: Path, entry: ShardEntry, cache: ChunkCache
) -> None:
    cache.budget = 0
    rows = np.random.default_rng(1).permutation(len(X))
    out = np.empty_like(X)
    open_shard(tmp_path, entry, verify=False)["x"].read(rows, out)
    np.testing.assert_array_equal(out, X[rows])
    assert cache.decoded == -(-len(X) // entry.arrays["x"].chunk)
    assert cache.nbytes == 0


def test_shuffled_blocks_decode_each_chunk_once(tmp_path: Path, cache: ChunkCache) -> None:
    chunk = 2048  # samples of 32 bytes in 64 KiB
    source = array_source({"x": X})
    manifest = pack(source, tmp_path / "d", layout=ZIPPED, shard_samples=2 * chunk)
    assert {shard.arrays["x"].chunk for shard in manifest.shards[:-1]} == {chunk}
    cache.budget = 4 * chunk * 32  # two windows of two chunks, of the ten there are
    data = open_dataset(tmp_path / "d", verify=False)
    order = BlockOrder(len(data), seed=3, block=chunk, window=2)
    with Loader(data, 64, order=order, epochs=1, prefetch=0) as loader:
        seen = np.concatenate([batch.ids for batch in loader])
    assert sorted(seen.tolist()) == list(range(len(data)))
    assert (np.diff(seen) != 1).mean() > 0.9  # really shuffled
    assert cache.decoded == 10


def test_the_cache_keeps_to_its_budget_and_to_what_was_used_last() -> None:
    cache = ChunkCache(budget=100)
    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda: np.zeros(40, np.uint8))
    assert (cache.nbytes, cache.decoded) == (80, 3)
    cache.get("a", lambda: np.zeros(40, np.uint8))
    assert cache.decoded == 3  # "b" had to go, not "a"
    cache.get("large", lambda: np.zeros(101, np.uint8))
    assert cache.nbytes == 80
    cache.clear()
    assert cache.nbytes == 0


def test_threads_that_need_the_same_chunk_decode_it_once() -> None:
    cache = ChunkCache()
    inside, found = threading.Barrier(2, timeout=20), []

    def slow() -> np.ndarray:
        inside.wait()
        return np.arange(3)

    threads = [
        threading.Thread(target=lambda: found.append(cache.get("key", slow))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    inside.wait()
    for thread in threads:
        thread.join(20)
    assert cache.decoded == 1
    assert all(array is found[0] for array in found)


def test_a_failure_is_not_kept() -> None:
    cache = ChunkCache()

    def fail() -> np.ndarray:
        raise DataError("damaged")

    for _ in range(2):
        with pytest.raises(DataError, match="damaged"):
            cache.get("key", fail)
    assert cache.get("key", lambda: np.arange(2)).tolist() == [0, 1]


def test_a_child_process_reads_chunks_its_parent_opened(tmp_path: Path) -> None:
    program = """
import os, sys
import numpy as np
from hpcad.data import open_dataset
data = open_dataset(sys.argv[1])
first = data.read(np.arange(100))["x"]
child = os.fork()
if child == 0:
    os._exit(0 if (data.read(np.arange(100))["x"] == first).all() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    pack(array_source({"x": X}), tmp_path / "d", layout=ZIPPED)
    command = [sys.executable, "-c", program, str(tmp_path / "d")]
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.parametrize("verify", ["first", "read", False])
def test_a_damaged_chunk_is_found_even_if_nothing_else_is_compared(
    tmp_path: Path, entry: ShardEntry, verify: bool | str
) -> None:
    with h5py.File(tmp_path / "a.h5", "r") as file:
        place = file["x"].id.get_chunk_info(3)
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[place.byte_offset + 100] ^= 1
    (tmp_path / "a.h5").write_bytes(data)
    rows = np.arange(3 * entry.arrays["x"].chunk, 3 * entry.arrays["x"].chunk + 2)
    with pytest.raises(DataError, match=r"field 'x' does not match: chunk 3.*fletcher32"):
        open_shard(tmp_path, entry, verify=verify)["x"].read(rows, np.empty((2, 8), "f4"))


def test_an_old_hdf5_that_cannot_list_chunks_is_asked_for_each(
    tmp_path: Path, entry: ShardEntry
) -> None:
    class Old:
        """A dataset of low level as HDF5 before 1.12.3 has it."""

        def __init__(self, dataset: h5py.Dataset) -> None:
            self.get_create_plist = dataset.id.get_create_plist
            self.get_num_chunks = dataset.id.get_num_chunks
            self.get_chunk_info = dataset.id.get_chunk_info

    with h5py.File(tmp_path / "a.h5", "r") as file:
        known = chunk_places(file["x"], entry.arrays["x"], entry.nbytes)
        old = SimpleNamespace(id=Old(file["x"]))
        found = chunk_places(old, entry.arrays["x"], entry.nbytes)
    assert found.offsets.tolist() == known.offsets.tolist()
    assert found.sizes.tolist() == known.sizes.tolist()


def test_only_chunks_that_are_needed_are_read(tmp_path: Path, entry: ShardEntry) -> None:
    with h5py.File(tmp_path / "a.h5", "r") as file:
        place = file["x"].id.get_chunk_info(3)
    with open(tmp_path / "a.h5", "r+b") as file:
        os.pwrite(file.fileno(), b"damage", place.byte_offset)
    out = np.empty((3, 8), np.float32)
    for verify in ("read", False):
        open_shard(tmp_path, entry, verify=verify)["x"].read(np.arange(3), out)
        np.testing.assert_array_equal(out, X[:3])


def test_a_chunk_in_another_ones_place_is_found_by_its_block(
    tmp_path: Path, entry: ShardEntry
) -> None:
    # Both are valid chunks; only the table of blocks knows which belongs where.
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        rows = entry.arrays["x"].chunk
        first = file["x"][:rows]
        file["x"][:rows] = file["x"][rows : 2 * rows]
        file["x"][rows : 2 * rows] = first
    size = (tmp_path / "a.h5").stat().st_size
    entry = replace(entry, nbytes=size)
    array = open_shard(tmp_path, entry, verify="read")["x"]
    with pytest.raises(DataError, match=r"chunk 0 .*its XXH3"):
        array.read(np.arange(2), np.empty((2, 8), np.float32))
    with pytest.raises(DataError, match=r"chunk 0 .*its XXH3"):
        open_shard(tmp_path, entry, verify="first")
