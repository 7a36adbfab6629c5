"""Opening one shard: every claim of the manifest is checked, then HDF5 is left alone.

libhdf5 is used for the header alone. The bytes are then read with ``pread``, contiguous arrays in
:mod:`hpcad.data.shards.contiguous`, chunked ones in :mod:`hpcad.data.shards.chunked`: faster than
h5py, without its interpreter-wide lock, and safe to inherit by a fork, since no HDF5 handle stays
open.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xxhash

from hpcad.data.manifest.contents import OFFSETS, ArrayEntry, ShardEntry
from hpcad.data.shards.blocks import VerifiedArray, read_table
from hpcad.data.shards.chunk_index import ChunkPlaces
from hpcad.data.shards.chunked import ChunkedArray
from hpcad.data.shards.contiguous import ContiguousArray
from hpcad.data.shards.descriptors import OPEN, StoredFile
from hpcad.data.shards.header import check_header, refuse
from hpcad.errors import DataError


class StoredArray(Protocol):
    """An array in a shard: rows by number, in bytes that are read when they are asked for.

    Any number of threads may read at the same time, and a forked child may go on reading. No HDF5
    handle stays open and no lock of HDF5 is taken; there is nothing to close, since open files are
    shared and bounded (:mod:`hpcad.data.shards.descriptors`).

    Attributes
    ----------
    shape : tuple of int
        The first axis counts rows.
    dtype : dtype
        Little-endian numbers.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Read rows (int64, shape ``(n,)``) into `out` (``(n, *shape[1:])``), in that order.

        Raises
        ------
        DataError
            A row does not exist, `out` does not fit, or the file is damaged or cannot be read.
        """


_PIECE = 4 * 2**20  # bytes that are in memory at once while something is compared
VERIFY = (True, "first", "read", False)


def open_shard(directory: Path, entry: ShardEntry, *, verify: bool | str) -> dict[str, StoredArray]:
    """Check a shard against its manifest entry, and make its arrays readable.

    Parameters
    ----------
    directory
        Where the shard lies.
    entry
        What the manifest says of it.
    verify
        ``"first"`` (or True) compares all checksums now, which reads every byte once. ``"read"``
        compares the block of every row each time that it is read, and nothing now; a shard of
        version 1 has no blocks and is treated as by ``"first"``. False compares nothing but what
        costs nothing: sizes and structure, and the Fletcher checksum of each chunk that is read.

    Returns
    -------
    dict of str to StoredArray
        By name; a ragged field has two, the second with
        :data:`~hpcad.data.manifest.contents.OFFSETS` after its name.

    Raises
    ------
    DataError
        If the file is missing, cut short, not HDF5, disagrees with the manifest, or is damaged.
    """
    check_verify(verify)
    path = directory / entry.file
    check_file(path, entry)
    file = StoredFile(path, entry.nbytes)
    # One descriptor, whose file is remembered: what is checked here is what will be read.
    (descriptor,) = OPEN.borrow([file])
    places = check_header(path, descriptor.number, entry)
    arrays = {
        name: _stored(file, name, array, places.get(name), verify)
        for name, array in entry.arrays.items()
    }
    if verify in (True, "first"):
        for name, array in arrays.items():
            _check_all(array, name, entry.arrays[name])
            arrays[name] = _plain(array)
    for name in entry.arrays:
        if name.endswith(OFFSETS):
            values = entry.arrays[name.removesuffix(OFFSETS)]
            _check_offsets(path, name, arrays[name], values.shape[0])
    return arrays


def check_verify(verify: bool | str) -> None:
    """Refuse an unknown way to verify."""
    if verify not in VERIFY:
        raise DataError(f"verify={verify!r} is unknown; it is 'first', 'read' or False")


def check_file(path: Path, entry: ShardEntry) -> None:
    """Check, without opening it, that the shard exists and has the size of the manifest."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: this shard is missing, though the manifest lists it; copy it again from its "
            "source, or pack the data again"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: is not a regular file; put the shard itself there")
    if status.st_size != entry.nbytes:
        how = "was cut short" if status.st_size < entry.nbytes else "is not the one that was packed"
        raise DataError(
            f"{path}: this shard {how}: {status.st_size} bytes, the manifest says {entry.nbytes}; "
            "copy it again from its source, or pack the data again"
        )


def _stored(
    file: StoredFile, name: str, entry: ArrayEntry, places: ChunkPlaces | None, verify: bool | str
) -> StoredArray:
    hashes = None
    if verify and entry.blocks is not None:
        hashes = read_table(file, name, entry)
    if places is not None:
        return ChunkedArray(file, name, entry, places, hashes)
    array = ContiguousArray(file, entry.offset, entry.shape, entry.dtype)
    if hashes is None or entry.blocks is None:
        return array
    return VerifiedArray(array, name, entry.blocks.rows, hashes)


def _plain(array: StoredArray) -> StoredArray:
    """An array that is not compared once more when it is read, if that costs anything."""
    return array.array if isinstance(array, VerifiedArray) else array


def _check_all(array: StoredArray, name: str, entry: ArrayEntry) -> None:
    if isinstance(array, VerifiedArray | ChunkedArray):
        array.check_all()
    elif isinstance(array, ContiguousArray):
        check_bytes(array, name, entry.xxh3)


def check_bytes(array: ContiguousArray, name: str, expected: str) -> None:
    """Compare the checksum of a whole contiguous array; :class:`DataError` if it differs."""
    state = xxhash.xxh3_128()
    for piece in _pieces(array):
        state.update(piece.reshape(-1).view(np.uint8).data)
    if (found := state.hexdigest()) != expected:
        raise DataError(
            f"{array.file.path}: the checksum of field {name!r} does not match: {found} in the "
            f"file, {expected} in the manifest. The data are damaged: copy the shard again from "
            "its source, or pack the data again"
        )


def _check_offsets(path: Path, name: str, array: StoredArray, rows: int) -> None:
    """Refuse offsets that do not divide the rows of the values into samples."""
    last, first = 0, True
    for piece in _pieces(array):
        if first and piece[0] != 0:
            refuse(path, f"{name!r} begins with {piece[0]}, not with 0")
        first = False
        if piece[0] < last or (piece[1:] < piece[:-1]).any():
            refuse(path, f"{name!r} decreases: a sample would end before it begins")
        last = int(piece[-1])
    if last != rows:
        refuse(path, f"{name!r} ends with {last}, though there are {rows} rows of values")


def _pieces(array: StoredArray) -> Iterator[np.ndarray]:
    """All rows of a stored array, a few MiB at a time."""
    row_bytes = int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize
    step = max(1, _PIECE // row_bytes)
    for start in range(0, array.shape[0], step):
        rows = np.arange(start, min(start + step, array.shape[0]))
        piece = np.empty((len(rows), *array.shape[1:]), array.dtype)
        array.read(rows, piece)
        yield piece
