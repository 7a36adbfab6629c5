"""A hostile dataset gives one clear error, in bounded time and memory, and nothing else.

Each case makes a good dataset, changes it the way an attacker would, with sizes and checksums of
the manifest to match, and then does what a training run does: open it and read all samples.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpcad.data import open_dataset
from hpcad.data.shards.writer import Layout
from hpcad.errors import DataError

from .hostile import (
    Change,
    N,
    X,
    fit,
    instead,
    make,
    manifest,
    refused,
)


def external_storage(file: h5py.File) -> None:
    file.create_dataset("x", (N, 16), "f4", external=[("secret", 0, N * 64)])


def absolute_external_storage(file: h5py.File) -> None:
    file.create_dataset("x", (N, 16), "f4", external=[("/etc/passwd", 0, N * 64)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((N, 16), "f4")
    layout[:] = h5py.VirtualSource("secret", "x", (N, 16))
    file.create_virtual_dataset("x", layout)


def soft_link(file: h5py.File) -> None:
    file["x"] = h5py.SoftLink("/_blocks/x")


def external_link(file: h5py.File) -> None:
    file["x"] = h5py.ExternalLink("secret", "/x")


def object_references(file: h5py.File) -> None:
    file.create_dataset("x", (N, 16), h5py.ref_dtype)


def region_references(file: h5py.File) -> None:
    file.create_dataset("x", (N, 16), h5py.regionref_dtype)


def variable_length_bomb(file: h5py.File) -> None:
    file.create_dataset("x", (1000,), h5py.vlen_dtype(np.float32))
    file["x"][:] = np.array([np.zeros(1000, np.float32)] * 1000)


def strings(file: h5py.File) -> None:
    file.create_dataset("x", (N, 16), h5py.string_dtype())


def compound(file: h5py.File) -> None:
    file.create_dataset("x", (N, 16), np.dtype([("a", "f4")]))


def booleans(file: h5py.File) -> None:
    file.create_dataset("x", (N, 16), np.bool_)


def big_endian(file: h5py.File) -> None:
    file.create_dataset("x", data=X, dtype=">f4")


def never_written(file: h5py.File) -> None:
    file.create_dataset("x", (N, 16), "f4", fillvalue=7.0)


def terabytes(file: h5py.File) -> None:
    file.create_dataset("x", (2**38,), "f4")


def terabytes_of_chunks(file: h5py.File) -> None:
    file.create_dataset("x", (2**38, 16), "f4", chunks=(1024, 16), fletcher32=True)


def thousands_of_arrays(file: h5py.File) -> None:
    for k in range(2000):
        file[f"x{k}"] = h5py.Empty("f4")


def group(file: h5py.File) -> None:
    file.create_group("x/deep")


def hard_link_to_another(file: h5py.File) -> None:
    file["x"] = file["_blocks/x"]


def one_more_array(file: h5py.File) -> None:
    file["x"] = X
    file["more"] = X


def unknown_filter(file: h5py.File) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((1024, 16))
    creation.set_filter(305, h5py.h5z.FLAG_OPTIONAL, ())
    creation.set_fletcher32()
    space = h5py.h5s.create_simple((N, 16))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, creation)


def no_checksum(file: h5py.File) -> None:
    file.create_dataset("x", data=X, chunks=(1024, 16))


def other_level(file: h5py.File) -> None:
    file.create_dataset("x", data=X, chunks=(1024, 16), compression=9, fletcher32=True)


def other_chunks(file: h5py.File) -> None:
    file.create_dataset("x", data=X, chunks=(512, 16), fletcher32=True)


REPLACED = [
    (external_storage, "uses external storage|not stored in chunks"),
    (absolute_external_storage, "uses external storage|not stored in chunks"),
    (virtual, "is a virtual dataset"),
    (soft_link, "link to another place"),
    (external_link, "link to another place"),
    (object_references, "does not hold plain numbers"),
    (region_references, "does not hold plain numbers"),
    (variable_length_bomb, "does not hold plain numbers"),
    (strings, "does not hold plain numbers"),
    (compound, "does not hold plain numbers"),
    (booleans, "does not hold plain numbers"),
    (big_endian, "the manifest says"),
    (never_written, "lies at byte|not stored in chunks"),
    (terabytes, "the manifest says"),
    (terabytes_of_chunks, "not stored in one piece|the manifest says"),
    (thousands_of_arrays, r"'x1000',.* \.\.\.\. This shard"),
    (group, "is not an array"),
    (hard_link_to_another, "the manifest says"),
    (one_more_array, "'more'"),
    (unknown_filter, "not stored in one piece|filters"),
    (no_checksum, "not stored in one piece|filters"),
    (other_level, "not stored in one piece|filters"),
    (other_chunks, r"not stored in one piece|chunks of \(512, 16\)"),
]


@pytest.mark.parametrize("layout", [Layout(), Layout(chunked=True, compress=1)])
@pytest.mark.parametrize(("create", "message"), REPLACED)
def test_arrays_that_are_something_else(
    tmp_path: Path, layout: Layout, create: Callable[[h5py.File], None], message: str
) -> None:
    place = make(tmp_path / "d", layout)
    instead(create)(place)
    refused(place, message, verify=False)


def cut(place: Path) -> None:
    os.truncate(place / "shard-00000.h5", 30_000)


def cut_with_its_manifest(place: Path) -> None:
    cut(place)
    fit(place)


def fifo(place: Path) -> None:
    (place / "shard-00000.h5").unlink()
    os.mkfifo(place / "shard-00000.h5")


def device(place: Path) -> None:
    (place / "shard-00000.h5").unlink()
    (place / "shard-00000.h5").symlink_to("/dev/zero")


def manifest_of_gigabytes(place: Path) -> None:
    os.truncate(place / "manifest.json", 2**40)


def manifest_of_a_million_brackets(place: Path) -> None:
    (place / "manifest.json").write_text("[" * 10**6)


def manifest_with_a_number_of_many_digits(place: Path) -> None:
    text = (place / "manifest.json").read_text()
    (place / "manifest.json").write_text(text.replace(": 4000", ": " + "4" * 10**6, 1))


def manifest_edited(place: Path) -> None:
    text = (place / "manifest.json").read_text()
    assert '"source": ""' in text
    (place / "manifest.json").write_text(text.replace('"source": ""', '"source": "me"'))


def put(*path: Any) -> Change:
    def change(value: Any) -> None:
        *way, key, new = path
        for step in way:
            value = value[step]
        value[key] = new

    return lambda place: manifest(place, change)


def huge(place: Path) -> None:
    def change(value: Any) -> None:
        value["count"] = value["shards"][0]["count"] = 2**45
        arrays = value["shards"][0]["arrays"]
        arrays["x"]["shape"][0] = 2**45
        arrays["f.offsets"]["shape"] = [2**45 + 1]

    manifest(place, change)


ARRAY = ("shards", 0, "arrays", "x")
OF_THE_MANIFEST = [
    (cut, "was cut short"),
    (cut_with_its_manifest, "ends at byte|HDF5 cannot read|do not fit"),
    (fifo, "not a regular file"),
    (device, "not a regular file"),
    (manifest_of_gigabytes, "too large for a manifest"),
    (manifest_of_a_million_brackets, "not a valid manifest"),
    (manifest_with_a_number_of_many_digits, "not a valid manifest"),
    (manifest_edited, "do not match its own checksum"),
    (put("version", 3), "reads versions 1 to 2"),
    (put("version", "2"), "reads versions 1 to 2"),
    (put("shards", 0, "file", "../../etc/shard.h5"), "plain file name"),
    (put("shards", 0, "file", "/etc/shard.h5"), "plain file name"),
    (put("shards", 0, "file", "..\\shard.h5"), "plain file name"),
    (put("fields", "../x", {"dtype": "float32", "shape": []}), "letters, digits"),
    (put("fields", "_blocks", {"dtype": "float32", "shape": []}), "the checksums' place"),
    (huge, "ends at byte|do not fit"),
    (put(*ARRAY, "blocks", "offset", 2**40), "ends at byte"),
    (put(*ARRAY, "blocks", "rows", 0), "must be an integer"),
    (put(*ARRAY, "blocks", {}), "lacks 'rows'"),
    (put("shards", 0, "arrays", "f", "shape", [2**40]), "ends at byte|do not fit"),
    (put("shards", 0, "arrays", "f.offsets", "shape", [3]), "expected int64"),
    (put("fields", "f", "shape", [2**62]), "too many for a sample"),
    (put("kind", "k" * 10**6), "expected one of|k{400} \\.\\.\\.; the manifest is damaged"),
]


@pytest.mark.parametrize("layout", [Layout(), Layout(chunked=True, compress=1)])
@pytest.mark.parametrize(("change", "message"), OF_THE_MANIFEST)
def test_manifests_and_files(tmp_path: Path, layout: Layout, change: Change, message: str) -> None:
    place = make(tmp_path / "d", layout)
    change(place)
    refused(place, message, verify=False)


@pytest.mark.parametrize("verify", ["first", "read"])
@pytest.mark.parametrize("layout", [Layout(), Layout(chunked=True)])
def test_a_shard_of_another_dataset(tmp_path: Path, layout: Layout, verify: str) -> None:
    place, other = make(tmp_path / "a", layout), make(tmp_path / "b", layout, seed=1)
    os.replace(other / "shard-00000.h5", place / "shard-00000.h5")
    with pytest.raises(DataError, match=r"checksum of field|the manifest says"):
        open_dataset(place, verify=verify).read(np.arange(N))


OFFSETS = [
    (0, 1, "begins with 1, not with 0"),
    (0, -1, "begins with -1"),
    (5, -(2**63), "decreases"),
    (5, 2**62, "decreases"),
    (N, 2**62, "ends with"),
    (N, 0, "decreases"),
]


@pytest.mark.parametrize(
    ("when", "row", "value", "message"),
    [("before", *case) for case in OFFSETS] + [("after", *case) for case in OFFSETS[1:]],
)
def test_offsets_that_do_not_divide_the_values(
    tmp_path: Path, when: str, row: int, value: int, message: str
) -> None:
    place = make(tmp_path / "d", Layout())
    data = open_dataset(place, verify=False)
    offset = data.manifest.shards[0].arrays["f.offsets"].offset
    if when == "after":  # what was checked at opening is not believed for ever
        data.read(np.arange(3))
    with open(place / "shard-00000.h5", "r+b") as file:
        os.pwrite(file.fileno(), value.to_bytes(8, "little", signed=True), offset + 8 * row)
    if when == "before":
        refused(place, message, verify=False)
    else:
        with pytest.raises(DataError, match="outside of its shard"):
            data.read(np.arange(N))
