"""A foreign HDF5 file leads nowhere else, unless it may; then it is told where."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.sources import hdf5_source, parse_fields
from hpcad.errors import DataError

X = np.arange(20.0)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file in which every name leads elsewhere."""
    (tmp_path / "raw.bin").write_bytes(X.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = X
    with h5py.File(tmp_path / "trap.h5", "w") as file:
        file["own"] = X
        file["group/own"] = X
        file["soft"] = h5py.SoftLink("/own")
        file["softgroup"] = h5py.SoftLink("/group")
        file["external"] = h5py.ExternalLink("other.h5", "/x")
        layout = h5py.VirtualLayout(X.shape, X.dtype)
        layout[:] = h5py.VirtualSource("other.h5", "x", X.shape)
        file.create_virtual_dataset("virtual", layout)
        raw = str(tmp_path / "raw.bin")
        file.create_dataset("storage", X.shape, X.dtype, external=[(raw, 0, X.nbytes)])
        file["nowhere"] = h5py.SoftLink("/absent")
        file.create_dataset("claims", (2**40,), "f8", chunks=(1024,))
        file["text"] = ["a", "b"]
        file["complex"] = X.astype(complex)
        file["compound"] = np.zeros(3, [("a", "i4"), ("b", "f8")])
        file["empty"] = h5py.Empty("f8")
        file["none"] = X[:0]
    return tmp_path / "trap.h5"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("soft", "leads over a soft link to /own"),
        ("softgroup/own", "leads over a soft link to /group"),
        ("external", "leads over an external link to /x in the file other.h5"),
        ("virtual", "is a virtual dataset of other.h5"),
        ("storage", "has its bytes in .*raw.bin"),
    ],
)
def test_what_leads_elsewhere_is_refused_or_told(
    trap: Path, tmp_path: Path, name: str, told: str
) -> None:
    fields = parse_fields([f"x=/{name}"])
    with pytest.raises(DataError, match=f"{told}; only what is in the file itself is read"):
        hdf5_source([trap], fields)
    source = hdf5_source([trap], fields, allow_links=True)
    pack(source, tmp_path / "d")
    np.testing.assert_array_equal(open_dataset(tmp_path / "d").read(np.arange(20))["x"], X)
    assert len(source.notes) == 1
    others = {file.name for file in source.files} - {"trap.h5"}
    assert others == {
        "external": {"other.h5"},
        "virtual": {"other.h5"},
        "storage": {"raw.bin"},
    }.get(name, set())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "leads over a soft link"),
        ("claims", "claims 8796093022208 bytes, which cannot be in a file of"),
        ("text", "cannot be packed"),
        ("complex", "complex128 cannot be packed"),
        ("compound", "cannot be packed"),
        ("empty", "has no axis 0"),
        ("none", "holds no sample"),
    ],
)
def test_what_cannot_be_samples(trap: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        hdf5_source([trap], parse_fields([f"x=/{name}"]))


def test_a_link_to_nothing_is_an_error_where_links_are_allowed(trap: Path) -> None:
    with pytest.raises(DataError, match="/nowhere cannot be opened"):
        hdf5_source([trap], parse_fields(["x=/nowhere"]), allow_links=True)


def test_a_filter_that_needs_a_plugin(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((10,))
        creation.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))  # Zstandard
        space = h5py.h5s.create_simple((20,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, space, creation)
    with pytest.raises(DataError, match="has the filter 32015, which needs a plugin"):
        hdf5_source([tmp_path / "f.h5"], parse_fields(["x=x"]))


def test_files_that_are_missing_or_damaged(tmp_path: Path, trap: Path) -> None:
    fields = parse_fields(["x=/own"])
    with pytest.raises(DataError, match="there is no such file"):
        hdf5_source([tmp_path / "none.h5"], fields)
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(DataError, match="is not an HDF5 file, or damaged"):
        hdf5_source([tmp_path / "text.h5"], fields)
    with pytest.raises(DataError, match="at least one HDF5 file"):
        hdf5_source([], fields)


def test_a_damaged_chunk(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(5,), fletcher32=True)
        place = file["x"].id.get_chunk_info(2).byte_offset
    with open(tmp_path / "f.h5", "r+b") as raw:
        raw.seek(place)
        raw.write(b"damage")
    with pytest.raises(DataError, match="x cannot be read"):
        pack(hdf5_source([tmp_path / "f.h5"], parse_fields(["x=x"])), tmp_path / "d")


def foreign(tmp_path: Path) -> bytes:
    """A small file with a bit of everything that a mapping can name."""
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.create_dataset("a/x", data=X, chunks=(5,), compression=1, fletcher32=True)
        file["site"] = "H1"
        file["a"].attrs["rate"] = 0.5
    return (tmp_path / "whole.h5").read_bytes()


def look(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    source = hdf5_source([path], parse_fields(["x=/a/x,window=2", "y=/site", "r=/a@rate"]))
    for _ in source.chunks(0, min(source.count, 1000)):
        pass


def test_a_heap_without_an_end_does_not_hang(tmp_path: Path) -> None:
    data = bytearray(foreign(tmp_path))
    heap = data.index(b"GCOL")
    data[heap + 25] ^= 4  # the first object reaches into the zeros behind the free space's header
    with pytest.raises(DataError, match="free space of no size"):
        look(tmp_path / "f.h5", bytes(data))


def test_flipped_bits_give_one_error_or_none(tmp_path: Path) -> None:
    whole, rng, refused = foreign(tmp_path), np.random.default_rng(0), 0
    look(tmp_path / "f.h5", whole)
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] ^= 1 << rng.integers(0, 8)
        try:
            look(tmp_path / "f.h5", bytes(data))
        except DataError:
            refused += 1
    assert refused > 50
