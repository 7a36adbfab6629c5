from __future__ import annotations

import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash

from hpcad.data.manifest.contents import DTYPES
from hpcad.data.shards import writer as shard_writer
from hpcad.data.shards.writer import Layout, write_shard
from hpcad.errors import DataError


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_arrays_are_contiguous_aligned_and_readable_with_h5py(
    tmp_path: Path, dtype: np.dtype
) -> None:
    arrays = {
        "a": np.arange(3 * 5 * 7).reshape(3, 5, 7).astype(dtype),
        "label": np.arange(3).astype(dtype),
    }
    path = tmp_path / "shard.h5"
    entry = write_shard(path, arrays)
    assert entry.count == 3
    assert entry.nbytes == path.stat().st_size
    whole = path.read_bytes()
    with h5py.File(path, "r") as file:
        assert set(file) == {*arrays, "_blocks"}
        for name, array in arrays.items():
            told = entry.arrays[name]
            assert told.offset % 4096 == 0
            assert told.offset == file[name].id.get_offset()
            stored = whole[told.offset : told.offset + told.nbytes]
            assert stored == array.tobytes()
            assert told.xxh3 == xxhash.xxh3_128_hexdigest(stored)
            assert file[name].dtype == dtype
            np.testing.assert_array_equal(file[name][:], array)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize(
    ("layout", "filters"),
    [
        (Layout(chunked=True), ["fletcher32"]),
        (Layout(chunked=True, compress=3), ["shuffle", "deflate:3", "fletcher32"]),
        (Layout(chunked=True, compress=3, shuffle=False), ["deflate:3", "fletcher32"]),
    ],
)
def test_chunks_are_readable_with_h5py(
    tmp_path: Path, dtype: np.dtype, layout: Layout, filters: list[str]
) -> None:
    array = (np.arange(30000 * 7) % 100).reshape(30000, 7).astype(dtype)
    entry = write_shard(tmp_path / "a.h5", {"x": array}, layout=layout).arrays["x"]
    if dtype.itemsize == 1:
        filters = [name for name in filters if name != "shuffle"]
    assert list(entry.filters) == filters
    with h5py.File(tmp_path / "a.h5", "r") as file:
        np.testing.assert_array_equal(file["x"][:], array)
        assert file["x"].chunks == (entry.chunk, 7)
        assert file["x"].fletcher32
        assert file["x"].compression == ("gzip" if layout.compress else None)


def test_the_table_of_blocks_has_the_checksum_of_each(tmp_path: Path) -> None:
    array = np.arange(50000.0).reshape(25000, 2)
    entry = write_shard(tmp_path / "a.h5", {"x": array}).arrays["x"]
    assert entry.blocks is not None
    rows = entry.blocks.rows
    assert rows * 16 == 65536
    with h5py.File(tmp_path / "a.h5", "r") as file:
        table = file["_blocks/x"][:]
    assert table.tolist() == [
        xxhash.xxh3_64_intdigest(array[start : start + rows].tobytes())
        for start in range(0, 25000, rows)
    ]
    assert entry.blocks.xxh3 == xxhash.xxh3_128_hexdigest(table.tobytes())


def test_samples_too_large_for_a_chunk_are_stored_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_writer, "_MAX_CHUNK_BYTES", 1000)
    entry = write_shard(tmp_path / "a.h5", {"x": np.zeros((2, 200))}, layout=Layout(chunked=True))
    assert entry.arrays["x"].chunk == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunked": True, "compress": 10}, "1 to 9, or 0"),
        ({"chunked": False, "compress": 1}, "only chunks can be compressed"),
    ],
)
def test_layouts_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Layout(**options)


@pytest.mark.parametrize("layout", [Layout(), Layout(chunked=True, compress=1)])
def test_the_same_arrays_give_the_same_file(tmp_path: Path, layout: Layout) -> None:
    arrays = {"x": np.arange(1000.0)}
    write_shard(tmp_path / "a.h5", arrays, layout=layout)
    time.sleep(1.1)  # HDF5 can write down seconds
    write_shard(tmp_path / "b.h5", arrays, layout=layout)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_shard_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(OSError, match="exist"):
        write_shard(tmp_path / "a.h5", {"x": np.arange(3.0)})
    assert (tmp_path / "a.h5").read_text() == "mine"
