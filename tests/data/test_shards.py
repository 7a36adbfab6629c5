"""A shard is read whole and right, or refused with a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcad.data.manifest.contents import ArrayEntry, ShardEntry
from hpcad.data.shards.opening import StoredArray, open_shard
from hpcad.data.shards.writer import Layout, checksum, write_shard
from hpcad.errors import DataError

X = np.arange(2000, dtype=np.float32).reshape(1000, 2)
Y = np.arange(1000, dtype=np.int64)


LAYOUTS = [
    Layout(),
    Layout(chunked=True),
    Layout(chunked=True, compress=1),
    Layout(chunked=True, compress=6, shuffle=False),
]


@pytest.fixture
def entry(tmp_path: Path) -> ShardEntry:
    return write_shard(tmp_path / "shard.h5", {"x": X, "y": Y})


def forged(path: Path, write: Callable[[h5py.File], None]) -> ShardEntry:
    """A file that ``write`` fills, with a manifest entry that claims it holds ``X`` as "x"."""
    with h5py.File(path, "w") as file:
        write(file)
    nbytes = path.stat().st_size
    array = ArrayEntry(X.shape, X.dtype, 4096, checksum(X))
    return ShardEntry(path.name, len(X), nbytes, {"x": array})


def whole(array: StoredArray) -> np.ndarray:
    """All rows of a stored array."""
    out = np.empty(array.shape, array.dtype)
    array.read(np.arange(array.shape[0]), out)
    return out


@pytest.mark.parametrize("verify", [True, "first", "read", False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_come_back(tmp_path: Path, layout: Layout, verify: bool | str) -> None:
    values = np.arange(30.0).reshape(10, 3)
    given = {"x": X, "y": Y, "none": values[:0], "long": np.arange(60000.0).reshape(4, -1)}
    entry = write_shard(tmp_path / "a.h5", given, count=1000, layout=layout)
    arrays = open_shard(tmp_path, entry, verify=verify)
    rng = np.random.default_rng(0)
    for name, expected in given.items():
        assert (arrays[name].shape, arrays[name].dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(whole(arrays[name]), expected)
        if len(expected):
            rows = rng.integers(0, len(expected), 50)
            out = np.empty((50, *expected.shape[1:]), expected.dtype)
            arrays[name].read(rows, out)
            np.testing.assert_array_equal(out, expected[rows])


def test_an_unknown_way_to_verify_is_refused(tmp_path: Path, entry: ShardEntry) -> None:
    with pytest.raises(DataError, match="verify='often' is unknown"):
        open_shard(tmp_path, entry, verify="often")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("verify", ["read", False])
def test_rows_that_do_not_exist_are_refused(
    tmp_path: Path, layout: Layout, verify: bool | str
) -> None:
    entry = write_shard(tmp_path / "a.h5", {"x": X}, layout=layout)
    array = open_shard(tmp_path, entry, verify=verify)["x"]
    for rows in ([-1], [0, 1000]):
        with pytest.raises(DataError, match="of an array of 1000"):
            array.read(np.array(rows), np.empty((len(rows), 2), "f4"))
    with pytest.raises(DataError, match="out= is"):
        array.read(np.array([1]), np.empty((1, 3), "f4"))


def test_hdf5_keeps_no_file_open(tmp_path: Path, entry: ShardEntry) -> None:
    before = len(os.listdir("/proc/self/fd"))
    arrays = open_shard(tmp_path, entry, verify=True)
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # one to read from
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0
    del arrays


def test_missing(tmp_path: Path, entry: ShardEntry) -> None:
    (tmp_path / "shard.h5").unlink()
    with pytest.raises(DataError, match=r"shard\.h5: this shard is missing.*copy it again"):
        open_shard(tmp_path, entry, verify=False)


def test_truncated(tmp_path: Path, entry: ShardEntry) -> None:
    os.truncate(tmp_path / "shard.h5", entry.nbytes - 1)
    with pytest.raises(DataError, match=f"was cut short: {entry.nbytes - 1} bytes, the manifest"):
        open_shard(tmp_path, entry, verify=False)


def test_too_long(tmp_path: Path, entry: ShardEntry) -> None:
    os.truncate(tmp_path / "shard.h5", entry.nbytes + 1)
    with pytest.raises(DataError, match="is not the one that was packed"):
        open_shard(tmp_path, entry, verify=False)


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_flipped_bit_fails_the_checksum(tmp_path: Path, entry: ShardEntry, name: str) -> None:
    flip(tmp_path / "shard.h5", entry.arrays[name].offset + 5, 0x10)
    with pytest.raises(DataError, match=f"checksum of field '{name}' does not match.*damaged"):
        open_shard(tmp_path, entry, verify=True)
    assert open_shard(tmp_path, entry, verify=False)[name].shape == entry.arrays[name].shape


def flip(path: Path, place: int, bits: int) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ bits]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (500, 4)}, r"is float32 \(1000, 2\), the manifest says float32 \(500, 4\)"),
        ({"dtype": np.dtype("<i4")}, "the manifest says int32"),
        ({"offset": 8192 * 16}, "lies at byte"),
    ],
)
def test_disagreement_with_the_manifest(
    tmp_path: Path, entry: ShardEntry, change: dict, message: str
) -> None:
    arrays = {**entry.arrays, "x": replace(entry.arrays["x"], **change)}
    with pytest.raises(DataError, match=message):
        open_shard(tmp_path, replace(entry, arrays=arrays), verify=False)


def test_other_names_than_the_manifest(tmp_path: Path, entry: ShardEntry) -> None:
    arrays = {"x": entry.arrays["x"], "z": entry.arrays["y"]}
    message = r"holds \['_blocks', 'x', 'y'\], the manifest says \['_blocks', 'x', 'z'\]"
    with pytest.raises(DataError, match=message):
        open_shard(tmp_path, replace(entry, arrays=arrays), verify=False)


def test_a_fifo_or_directory_is_not_opened(tmp_path: Path, entry: ShardEntry) -> None:
    (tmp_path / "shard.h5").unlink()
    os.mkfifo(tmp_path / "shard.h5")
    with pytest.raises(DataError, match="not a regular file"):
        open_shard(tmp_path, entry, verify=False)


def test_not_hdf5(tmp_path: Path, entry: ShardEntry) -> None:
    (tmp_path / "shard.h5").write_bytes(b"a" * entry.nbytes)
    with pytest.raises(DataError, match="HDF5 cannot read this shard"):
        open_shard(tmp_path, entry, verify=False)


def external_storage(file: h5py.File) -> None:
    Path(file.filename).with_name("secret").write_bytes(X.tobytes())
    file.create_dataset("x", X.shape, "f4", external=[("secret", 0, X.nbytes)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(X.shape, "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", X.shape)
    file.create_virtual_dataset("x", layout)


def soft_link(file: h5py.File) -> None:
    file["x"] = h5py.SoftLink("/nowhere")


def external_link(file: h5py.File) -> None:
    file["x"] = h5py.ExternalLink("other.h5", "x")


def variable_length(file: h5py.File) -> None:
    file.create_dataset("x", (4,), h5py.vlen_dtype(np.float32))


def strings(file: h5py.File) -> None:
    file.create_dataset("x", (4,), h5py.string_dtype())


def references(file: h5py.File) -> None:
    file.create_dataset("x", (4,), h5py.ref_dtype)


def compound(file: h5py.File) -> None:
    file.create_dataset("x", (4,), np.dtype([("a", "f4"), ("b", "f4")]))


def opaque(file: h5py.File) -> None:
    file.create_dataset("x", (4,), np.dtype("V8"))


def chunked(file: h5py.File) -> None:
    file.create_dataset("x", data=X, chunks=(10, 2))


def zipped(file: h5py.File) -> None:
    file.create_dataset("x", data=X, compression="gzip")


def compact(file: h5py.File) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, space, creation)


def group(file: h5py.File) -> None:
    file.create_group("x")


def named_type(file: h5py.File) -> None:
    file["x"] = np.dtype("f4")


def null_space(file: h5py.File) -> None:
    file["x"] = h5py.Empty("f4")


def bomb(file: h5py.File) -> None:
    # Contiguous and never written: four terabytes in a file of two kilobytes.
    file.create_dataset("x", (2**40,), "f4")


def unwritten(file: h5py.File) -> None:
    file.create_dataset("x", X.shape, "f4")  # no bytes yet: reading gives the fill value


def misplaced(file: h5py.File) -> None:
    file.create_dataset("x", data=X)  # contiguous, but not where the manifest says


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (external_storage, "external storage"),
        (virtual, "virtual dataset"),
        (soft_link, "link to another place"),
        (external_link, "link to another place"),
        (variable_length, "does not hold plain numbers"),
        (strings, "does not hold plain numbers"),
        (references, "does not hold plain numbers"),
        (compound, "does not hold plain numbers"),
        (opaque, "does not hold plain numbers"),
        (chunked, "not stored in one piece"),
        (zipped, "not stored in one piece"),
        (compact, "not stored in one piece"),
        (group, "not an array"),
        (named_type, "not an array"),
        (null_space, "the manifest says"),
        (bomb, "the manifest says"),
        (unwritten, "lies at byte"),
        (misplaced, "lies at byte"),
    ],
)
def test_hostile_shards(tmp_path: Path, write: Callable[[h5py.File], None], message: str) -> None:
    entry = forged(tmp_path / "forged.h5", write)
    with pytest.raises(DataError, match=message):
        open_shard(tmp_path, entry, verify=False)


def test_flipped_bits_anywhere_are_harmless_or_refused(tmp_path: Path, entry: ShardEntry) -> None:
    path = tmp_path / "shard.h5"
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    # Most of a small shard is padding, so the header's bytes are hit on purpose.
    header = [place for place, byte in enumerate(good[: entry.arrays["x"].offset]) if byte]
    refused = 0
    for place in rng.choice(header, 300):
        flip(path, int(place), 1 << int(rng.integers(8)))
        try:
            arrays = open_shard(tmp_path, entry, verify=True)
            np.testing.assert_array_equal(whole(arrays["x"]), X)
            np.testing.assert_array_equal(whole(arrays["y"]), Y)
        except DataError:
            refused += 1
        path.write_bytes(good)
    assert refused > 100


def test_a_shard_that_the_program_has_open_itself(tmp_path: Path, entry: ShardEntry) -> None:
    with h5py.File(tmp_path / "shard.h5", "r"):
        arrays = open_shard(tmp_path, entry, verify=True)
        np.testing.assert_array_equal(whole(arrays["x"]), X)
