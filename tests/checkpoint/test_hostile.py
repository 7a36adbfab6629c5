"""Hostile files in a checkpoint: one clear error each, and nothing else is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from checkpoint_layouts import NONCE, forge, write_directory

from hpcad.checkpoint import read_checkpoint
from hpcad.checkpoint.format import checksum
from hpcad.checkpoint.reading.directory_reader import DirectoryReader
from hpcad.errors import CheckpointError

WEIGHT = "parameters/fc1.weight"
FIRST = f"{NONCE}-0000.h5"
OTHER = f"{NONCE}-0001.h5"


def array(record: dict[str, Any], name: str = WEIGHT) -> dict[str, Any]:
    return next(item for item in record["arrays"] if item["name"] == name)


# Files that are not what they seem.


def linked_part(path: Path) -> None:
    (path / FIRST).rename(path.parent / "elsewhere")
    (path / FIRST).symlink_to(path.parent / "elsewhere")


def linked_manifest(path: Path) -> None:
    (path / "manifest.json").rename(path.parent / "elsewhere")
    (path / "manifest.json").symlink_to(path.parent / "elsewhere")


def pipe_for_a_part(path: Path) -> None:
    (path / FIRST).unlink()
    os.mkfifo(path / FIRST)


def pipe_for_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()
    os.mkfifo(path / "manifest.json")


def directory_for_a_part(path: Path) -> None:
    (path / FIRST).unlink()
    (path / FIRST).mkdir()


def zeros_for_a_part(path: Path) -> None:
    (path / FIRST).unlink()
    (path / FIRST).symlink_to("/dev/zero")


def truncated(path: Path) -> None:
    (path / FIRST).write_bytes((path / FIRST).read_bytes()[:-1])


def emptied(path: Path) -> None:
    (path / FIRST).write_bytes(b"")


def extended(path: Path) -> None:
    (path / FIRST).write_bytes((path / FIRST).read_bytes() + b"\0")


def missing(path: Path) -> None:
    (path / OTHER).unlink()


def exchanged(path: Path) -> None:
    """Rank 1 has what rank 0 wrote; both are as long."""
    first, second = (path / FIRST).read_bytes(), (path / OTHER).read_bytes()
    size = max(len(first), len(second))
    (path / FIRST).write_bytes(second.ljust(size, b"\0"))
    (path / OTHER).write_bytes(first.ljust(size, b"\0"))
    forge(path, lambda record: [part.update(bytes=size) for part in record["parts"]])


def spliced(path: Path) -> None:
    """A part of another step with the same names, shapes, nonce and length."""
    other = dict(read_checkpoint(path).arrays)
    other[WEIGHT] = other[WEIGHT] + 1
    later = write_directory(path.parent, 8, other, ranks=2)
    (path / FIRST).write_bytes((later / FIRST).read_bytes())


def manifest_of_another_step(path: Path) -> None:
    later = write_directory(path.parent, 8, dict(read_checkpoint(path).arrays), ranks=2)
    (later / "manifest.json").replace(path / "manifest.json")


FILES: list[tuple[Callable[[Path], None], str]] = [
    (linked_part, "is a symbolic link"),
    (zeros_for_a_part, "is a symbolic link"),
    (linked_manifest, "'manifest.json' is a symbolic link"),
    (pipe_for_a_part, "no file"),
    (pipe_for_the_manifest, "'manifest.json' is not a regular file"),
    (directory_for_a_part, "no file"),
    (truncated, "bytes instead of"),
    (emptied, "has 0 bytes instead of"),
    (extended, "bytes instead of"),
    (missing, f"{OTHER} is missing"),
    (exchanged, "checksum of array"),
    (spliced, f"checksum of array '{WEIGHT}' does not match in {FIRST}"),
    (manifest_of_another_step, "its name states step 7, it holds 8"),
]


@pytest.mark.parametrize(("alter", "reason"), FILES, ids=[alter.__name__ for alter, _ in FILES])
def test_files_that_are_not_what_they_seem_are_refused(two_parts, refused, alter, reason):
    alter(two_parts)
    assert reason in refused(two_parts)


def test_a_part_that_becomes_a_link_while_it_is_read_is_refused(two_parts, refused, monkeypatch):
    """Each file is checked once more when it is open: what was checked may be gone by then."""
    real = DirectoryReader.check_parts
    monkeypatch.setattr(
        DirectoryReader, "check_parts", lambda self: (real(self), linked_part(two_parts))
    )
    assert "is a symbolic link" in refused(two_parts)


def test_a_sparse_part_of_terabytes_is_refused_unread(two_parts, refused):
    """It costs its author nothing, and the reader neither memory nor time."""
    size = 1 << 43

    def alter(record):
        piece = array(record)["slices"][0]
        array(record).update(shape=[size // 8], slices=[piece | {"count": size // 8}])
        array(record)["slices"][0]["offset"] = 1 << 20
        record["parts"][0]["bytes"] = size

    try:
        os.truncate(two_parts / FIRST, size)
    except OSError:
        pytest.skip("this file system has no files of 8 TB")
    forge(two_parts, alter)
    assert "and this machine has" in refused(two_parts, CheckpointError)


def test_a_boolean_of_another_byte_is_refused(tmp_path, refused):
    path = write_directory(tmp_path, 7, {"flags": np.array([True, False])})
    part = path / FIRST
    data = bytearray(part.read_bytes())
    piece = json.loads((path / "manifest.json").read_bytes())["arrays"][0]["slices"][0]
    data[piece["offset"]] = 2
    part.write_bytes(data)
    forge(
        path,
        lambda record: array(record, "flags")["slices"][0].update(xxh3_128=checksum(b"\2\0")),
    )
    assert "holds what is no boolean" in refused(path)


# Parts in which HDF5 would lead its reader elsewhere.


def external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset(WEIGHT, (16, 24), "<f4", external=[(str(secret), 0, 4096)])


def external_link(file: h5py.File, secret: Path) -> None:
    file[WEIGHT] = h5py.ExternalLink(str(secret), "/x")


def soft_link(file: h5py.File, secret: Path) -> None:
    file[WEIGHT] = h5py.SoftLink("/parameters/fc1.bias")


def virtual_dataset(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((16, 24), "<f4")
    layout[...] = h5py.VirtualSource(str(secret), "x", (16, 24))
    file.create_virtual_dataset(WEIGHT, layout)


def object_references(file: h5py.File, secret: Path) -> None:
    file.create_dataset(WEIGHT, (16, 24), h5py.ref_dtype)


def variable_length(file: h5py.File, secret: Path) -> None:
    file.create_dataset(WEIGHT, (16, 24), h5py.vlen_dtype(np.float32))


def compressed_bomb(file: h5py.File, secret: Path) -> None:
    file.create_dataset(WEIGHT, (1 << 20, 1 << 20), "<f4", chunks=(1 << 10, 1 << 10), compression=9)


def terabyte_shape(file: h5py.File, secret: Path) -> None:
    file.create_dataset(WEIGHT, (1 << 20, 1 << 20), "<f4")


@pytest.mark.parametrize(
    "make",
    [
        external_storage,
        external_link,
        soft_link,
        virtual_dataset,
        object_references,
        variable_length,
        compressed_bomb,
        terabyte_shape,
    ],
)
def test_hostile_hdf5_in_a_part_is_never_parsed(two_parts, refused, make, monkeypatch):
    part = two_parts / FIRST
    size = part.stat().st_size
    with h5py.File(part, "w") as file:
        make(file, two_parts.parent / "secret")
    os.truncate(part, max(size, part.stat().st_size))
    size = part.stat().st_size
    forge(two_parts, lambda record: record["parts"][0].update(bytes=size))
    opened = []
    real = os.open

    def note(name, *arguments, **keywords):
        opened.append(os.path.basename(name))
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(os, "open", note)
    monkeypatch.setattr(h5py, "File", None)
    assert "checksum of array" in refused(two_parts)
    assert set(opened) <= {two_parts.name, "manifest.json", FIRST, OTHER}
