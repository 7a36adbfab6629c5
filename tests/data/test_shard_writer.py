from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash

from hpcad.data.manifest import DTYPES
from hpcad.data.shard_writer import write_shard


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
        assert set(file) == set(arrays)
        for name, array in arrays.items():
            told = entry.arrays[name]
            assert told.offset % 4096 == 0
            assert told.offset == file[name].id.get_offset()
            stored = whole[told.offset : told.offset + told.nbytes]
            assert stored == array.tobytes()
            assert told.xxh3 == xxhash.xxh3_128_hexdigest(stored)
            assert file[name].dtype == dtype
            np.testing.assert_array_equal(file[name][:], array)


def test_the_same_arrays_give_the_same_file(tmp_path: Path) -> None:
    arrays = {"x": np.arange(1000.0)}
    write_shard(tmp_path / "a.h5", arrays)
    write_shard(tmp_path / "b.h5", arrays)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_shard_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(OSError, match="exist"):
        write_shard(tmp_path / "a.h5", {"x": np.arange(3.0)})
    assert (tmp_path / "a.h5").read_text() == "mine"
