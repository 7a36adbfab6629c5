"""Chunks of a hostile shard: outside of the file, twice, never, or far too large inside."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpcad.data.shards.filters import fletcher32
from hpcad.data.shards.writer import Layout

from .hostile import (
    N,
    X,
    fit,
    instead,
    make,
    refused,
)


def old_index(place: Path) -> list[Any]:
    """Write the chunks of x once more, with an index that has no checksum; where they are."""
    with h5py.File(place / "shard-00000.h5", "r+", libver="earliest") as file:
        del file["x"]
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((1024, 16))
        creation.set_fletcher32()
        space = h5py.h5s.create_simple((N, 16))
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, creation))
        dataset[...] = X
        places = [dataset.id.get_chunk_info(k) for k in range(4)]
    fit(place)
    return places


def key_of(row: int) -> bytes:
    """What the old index has of a chunk before its address: its size, mask, and first row."""
    size, mask = 1024 * 64 + 4, 0
    words = size.to_bytes(4, "little") + mask.to_bytes(4, "little") + row.to_bytes(8, "little")
    return words + bytes(16)  # it begins at place 0 of the other axes


def patched(place: Path, old: bytes, new: bytes) -> None:
    data = (place / "shard-00000.h5").read_bytes()
    assert data.count(old) == 1
    (place / "shard-00000.h5").write_bytes(data.replace(old, new))


@pytest.mark.parametrize("to", ["end", "terabyte", "negative"])
def test_a_chunk_outside_of_the_file(tmp_path: Path, to: str) -> None:
    place = make(tmp_path / "d", Layout(chunked=True))
    places = old_index(place)
    size = (place / "shard-00000.h5").stat().st_size
    there = {"end": size - 100, "terabyte": 2**40, "negative": 2**64 - 4096}[to]
    following = key_of(3 * 1024)
    patched(
        place,
        places[2].byte_offset.to_bytes(8, "little") + following,
        there.to_bytes(8, "little") + following,
    )
    refused(place, "chunk 2 at byte|has a chunk at byte|HDF5 cannot read", verify=False)


def test_a_chunk_that_is_listed_twice_or_never(tmp_path: Path) -> None:
    place = make(tmp_path / "d", Layout(chunked=True))
    old_index(place)
    patched(place, key_of(2048), key_of(1024))
    refused(place, "repeated chunk at|lacks chunk|HDF5 cannot read", verify=False)


def test_a_chunk_that_was_never_written(tmp_path: Path) -> None:
    place = make(tmp_path / "d", Layout(chunked=True))

    def create(file: h5py.File) -> None:
        file.create_dataset("x", (N, 16), "f4", chunks=(1024, 16), fletcher32=True)
        file["x"][:1024] = X[:1024]

    instead(create)(place)
    refused(place, "lacks chunk 1, of which HDF5 would invent the numbers", verify=False)


def direct(chunk: bytes, mask: int = 0) -> Callable[[h5py.File], None]:
    """Chunks of x that consist of these bytes."""

    def create(file: h5py.File) -> None:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((1024, 16))
        creation.set_shuffle()
        creation.set_deflate(1)
        creation.set_fletcher32()
        space = h5py.h5s.create_simple((N, 16))
        dataset = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, creation)
        for start in range(0, N, 1024):
            dataset.write_direct_chunk((start, 0), chunk, filter_mask=mask)

    return create


def bomb(nbytes: int) -> bytes:
    memory, stream = io.BytesIO(), zlib.compressobj(9)
    for _ in range(nbytes // 2**20):
        memory.write(stream.compress(bytes(2**20)))
    memory.write(stream.flush())
    data = memory.getvalue()
    return data + fletcher32(np.frombuffer(data, np.uint8)).to_bytes(4, "little")


@pytest.mark.parametrize("nbytes", [2**20, 2**27])
def test_a_deflate_bomb(tmp_path: Path, nbytes: int) -> None:
    place = make(tmp_path / "d", Layout(chunked=True, compress=1))
    instead(direct(bomb(nbytes)))(place)
    refused(place, "inflates to more than its 65536 bytes", verify=False)


@pytest.mark.parametrize(
    ("chunk", "mask", "message"),
    [
        (b"tiny", 0, "cannot become the 65536 bytes"),
        (bytes(65536), 0b111, "without a checksum"),
        (bytes(65536), 0b1000, "without a checksum|HDF5 cannot read"),
        (bytes(70_000), 0b010, "cannot become the 65536 bytes"),
        (bytes(100), 0, "does not match: chunk 0"),
    ],
)
def test_chunks_that_cannot_be(tmp_path: Path, chunk: bytes, mask: int, message: str) -> None:
    place = make(tmp_path / "d", Layout(chunked=True, compress=1))
    instead(direct(chunk, mask))(place)
    refused(place, message, verify=False)
