"""Writing one shard: an HDF5 file with the arrays and the checksums of their blocks.

Contiguous arrays start on 4 KiB borders. libhdf5 lays the file out; the bytes then go in with
plain writes at the offsets it reports. Chunked arrays are written by h5py, with HDF5's own
filters, into memory. Either way the file itself gets nothing but plain writes, and a full disk is
an error before the first array instead of a library that cannot close its file.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

from hpcad.data.manifest.contents import (
    ALIGNMENT,
    BLOCKS,
    DTYPES,
    ArrayEntry,
    BlockTable,
    ShardEntry,
)
from hpcad.data.shards.blocks import block_hashes, rows_per_block
from hpcad.errors import DataError

_WRITE_BYTES = 64 * 2**20  # of one write call; the kernel stops short of 2 GiB
_MAX_CHUNK_BYTES = 2**32 - 1  # HDF5's bound
_VERSIONS = ("v108", "v110")  # of HDF5's format; the index of chunks in v110 has checksums


@dataclass(frozen=True)
class Layout:
    """How the arrays of a shard are stored.

    Attributes
    ----------
    chunked : bool
        In chunks with a Fletcher checksum each, instead of in one piece.
    compress : int
        Of chunks: level 1 to 9 of deflate, or 0 for none.
    shuffle : bool
        Put the first bytes of all numbers of a chunk together, then the second, and so on, which
        often lets deflate find more; done only where there is deflate.
    """

    chunked: bool = False
    compress: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.compress <= 9:
            raise DataError(f"a level of compression is 1 to 9, or 0 for none, not {self.compress}")
        if self.compress and not self.chunked:
            raise DataError(
                "only chunks can be compressed; ask for a chunked layout, or for no compression"
            )

    def filters(self, dtype: np.dtype[Any]) -> tuple[str, ...]:
        """The filters of an array's chunks, in the order in which they are applied."""
        deflate = (f"deflate:{self.compress}",) if self.compress else ()
        shuffle = ("shuffle",) if deflate and self.shuffle and dtype.itemsize > 1 else ()
        return (*shuffle, *deflate, "fletcher32")


CONTIGUOUS = Layout()


def write_shard(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    *,
    count: int | None = None,
    layout: Layout = CONTIGUOUS,
) -> ShardEntry:
    """Write one shard file and flush it to disk.

    Parameters
    ----------
    path
        File to make; it must not exist.
    arrays
        C-contiguous little-endian arrays by name.
    count
        Samples; by default the length of the arrays, which are then equally long.
    layout
        How to store them.

    Returns
    -------
    ShardEntry
        What the manifest must say of it.

    Raises
    ------
    OSError
        If the file exists or the disk is full; what was written of the file stays.
    """
    entries = {name: _entry(array, layout) for name, array in arrays.items()}
    pieces = {name: array for name, array in arrays.items() if not entries[name].chunk}
    for name, array in arrays.items():
        if (table := entries[name].blocks) is not None:
            pieces[f"{BLOCKS}/{name}"] = block_hashes(array, table.rows)
    chunked = {name: entry for name, entry in entries.items() if entry.chunk}
    try:
        if chunked:
            offsets, nbytes = _write_image(path, pieces, arrays, chunked)
        else:
            offsets, nbytes = _write_pieces(path, pieces)
    except RuntimeError as error:  # libhdf5's way to report a failed write
        raise _os_error(error) from error
    placed = {name: _placed(name, entry, pieces, offsets) for name, entry in entries.items()}
    if count is None:
        count = len(next(iter(arrays.values())))
    return ShardEntry(path.name, count, nbytes, placed)


def checksum(array: np.ndarray) -> str:
    """XXH3-128 in hexadecimal of the bytes of a C-contiguous array."""
    return xxhash.xxh3_128_hexdigest(_bytes(array))


def _entry(array: np.ndarray, layout: Layout) -> ArrayEntry:
    """Everything of an array's entry but the offsets and checksums."""
    entry = ArrayEntry(array.shape, array.dtype)
    if not len(array):
        return entry  # HDF5 stores nothing of it
    rows = rows_per_block(entry.row_bytes, len(array))
    entry = replace(entry, blocks=BlockTable(rows, 0, ""))
    if layout.chunked and rows * entry.row_bytes <= _MAX_CHUNK_BYTES:
        entry = replace(entry, chunk=rows, filters=layout.filters(array.dtype))
    return entry


def _placed(
    name: str, entry: ArrayEntry, pieces: Mapping[str, np.ndarray], offsets: Mapping[str, int]
) -> ArrayEntry:
    if not entry.chunk:
        entry = replace(entry, offset=offsets[name], xxh3=checksum(pieces[name]))
    if (table := entry.blocks) is None:
        return entry
    place = f"{BLOCKS}/{name}"
    table = replace(table, offset=offsets[place], xxh3=checksum(pieces[place]))
    return replace(entry, blocks=table)


def _write_pieces(path: Path, pieces: Mapping[str, np.ndarray]) -> tuple[dict[str, int], int]:
    """Write a file of contiguous arrays; their offsets, and the bytes of the file."""
    with h5py.File(
        path,
        "x",
        **_properties(pieces),
        locking=False,  # nobody else knows this file yet, and some file systems hang on locks
    ) as file:
        offsets = _lay_out(file, pieces)
    end = max(offsets[name] + array.nbytes for name, array in pieces.items())
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        nbytes = max(end, os.fstat(descriptor).st_size)
        os.posix_fallocate(descriptor, 0, nbytes)  # a full disk shows here, before any array
        for name, array in pieces.items():
            _write_at(descriptor, _bytes(array), offsets[name])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return offsets, nbytes


def _write_image(
    path: Path,
    pieces: Mapping[str, np.ndarray],
    arrays: Mapping[str, np.ndarray],
    chunked: Mapping[str, ArrayEntry],
) -> tuple[dict[str, int], int]:
    """Write a file with chunked arrays, made in memory first."""
    memory = io.BytesIO()
    with h5py.File(memory, "w", **_properties(pieces)) as file:
        offsets = _lay_out(file, pieces)
    for name, array in pieces.items():
        memory.seek(offsets[name])
        memory.write(_bytes(array))
    # Once more without the alignment, which would round up every chunk.
    with h5py.File(memory, "r+", libver=("v110", "v110")) as file:
        for name, entry in chunked.items():
            _write_chunks(file, name, arrays[name], entry)
    with memory.getbuffer() as image:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            os.posix_fallocate(descriptor, 0, len(image))
            _write_at(descriptor, image, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return offsets, len(image)


def _write_chunks(file: h5py.File, name: str, array: np.ndarray, entry: ArrayEntry) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    creation.set_chunk((entry.chunk, *array.shape[1:]))
    for word in entry.filters:  # the checksum last: it is compared before anything is inflated
        if word == "shuffle":
            creation.set_shuffle()
        elif word == "fletcher32":
            creation.set_fletcher32()
        else:
            creation.set_deflate(int(word.removeprefix("deflate:")))
    space = h5py.h5s.create_simple(array.shape)
    kind = h5py.h5t.py_create(DTYPES[array.dtype.name])
    dataset = h5py.h5d.create(file.id, name.encode("ascii"), kind, space, creation)
    h5py.Dataset(dataset)[...] = array


def _properties(pieces: Mapping[str, np.ndarray]) -> dict[str, Any]:
    # HDF5's own structures all at the front: it would fail half-way to write some behind large
    # arrays where the disk is too small, and then could not close the file. Each of them is
    # aligned too: one for every array, and a few for the root and the group.
    room = (8 + len(pieces)) * ALIGNMENT
    return {
        "libver": _VERSIONS,
        "alignment_threshold": 1,
        "alignment_interval": ALIGNMENT,
        "meta_block_size": room,
    }


def _lay_out(file: h5py.File, pieces: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Make room for contiguous arrays; their byte offsets by name."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # the offset is fixed at creation
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)  # the same arrays give the same file
    if any(name.startswith(f"{BLOCKS}/") for name in pieces):
        times = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        times.set_obj_track_times(False)
        h5py.h5g.create(file.id, BLOCKS.encode("ascii"), gcpl=times)
    offsets = {}
    for name, array in pieces.items():
        space = h5py.h5s.create_simple(array.shape)
        kind = h5py.h5t.py_create(DTYPES[array.dtype.name])
        dataset = h5py.h5d.create(file.id, name.encode("ascii"), kind, space, creation)
        offsets[name] = int(dataset.get_offset() or 0)  # nothing is allocated for no rows
    return offsets


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    written = 0
    while written < len(data):
        part = data[written : written + _WRITE_BYTES]
        written += os.pwrite(descriptor, part, offset + written)


def _os_error(error: RuntimeError) -> OSError:
    found = re.search(r"errno = (\d+)", str(error))
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number))
