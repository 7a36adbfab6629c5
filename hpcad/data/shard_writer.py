"""Writing one shard: an HDF5 file whose arrays are contiguous and start on 4 KiB borders.

libhdf5 lays the file out; the bytes then go in with plain writes at the offsets it reports. That
gives the checksum of exactly what was written, and turns a full disk into an error before the
first array instead of a library that cannot close its file.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import xxhash

from hpcad.data.manifest import ALIGNMENT, DTYPES, ArrayEntry, ShardEntry

_WRITE_BYTES = 64 * 2**20  # of one write call; the kernel stops short of 2 GiB


def write_shard(path: Path, arrays: Mapping[str, np.ndarray]) -> ShardEntry:
    """Write one shard file and flush it to disk.

    Parameters
    ----------
    path
        File to make; it must not exist.
    arrays
        C-contiguous little-endian arrays of equal length by field name.

    Returns
    -------
    ShardEntry
        What the manifest must say of it.

    Raises
    ------
    OSError
        If the file exists or the disk is full; what was written of the file stays.
    """
    try:
        offsets = _lay_out(path, arrays)
    except RuntimeError as error:  # libhdf5's way to report a failed write
        raise _os_error(error) from error
    end = max(offsets[name] + array.nbytes for name, array in arrays.items())
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        nbytes = max(end, os.fstat(descriptor).st_size)
        os.posix_fallocate(descriptor, 0, nbytes)  # a full disk shows here, before any array
        for name, array in arrays.items():
            _write_at(descriptor, array.reshape(-1).view(np.uint8).data, offsets[name])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    entries = {
        name: ArrayEntry(array.shape, array.dtype, offsets[name], checksum(array))
        for name, array in arrays.items()
    }
    return ShardEntry(path.name, len(next(iter(arrays.values()))), nbytes, entries)


def checksum(array: np.ndarray) -> str:
    """XXH3-128 in hexadecimal of the bytes of a C-contiguous array."""
    return xxhash.xxh3_128_hexdigest(array.reshape(-1).view(np.uint8).data)


def _lay_out(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Make the HDF5 file with room for the arrays; their byte offsets by name."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # the offset is fixed at creation
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    offsets = {}
    with h5py.File(
        path,
        "x",
        libver=("v108", "v110"),
        alignment_threshold=1,
        alignment_interval=ALIGNMENT,
        locking=False,  # nobody else knows this file yet, and some file systems hang on locks
    ) as file:
        for name, array in arrays.items():
            space = h5py.h5s.create_simple(array.shape)
            kind = h5py.h5t.py_create(DTYPES[array.dtype.name])
            dataset = h5py.h5d.create(file.id, name.encode("ascii"), kind, space, creation)
            offsets[name] = int(dataset.get_offset())
    return offsets


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    written = 0
    while written < len(data):
        part = data[written : written + _WRITE_BYTES]
        written += os.pwrite(descriptor, part, offset + written)


def _os_error(error: RuntimeError) -> OSError:
    found = re.search(r"errno = (\d+)", str(error))
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number))
