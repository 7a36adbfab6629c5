"""Reading one shard: every claim of the manifest is checked, then the file is mapped.

libhdf5 is used for the header alone. The arrays are contiguous, so their bytes are mapped at the
offset that HDF5 reports: faster than h5py, without its interpreter-wide lock, and safe to inherit
by a fork, since no HDF5 handle stays open.

A shard may be hostile. Accepted are hard links to plain numeric arrays that lie whole in this
file, with exactly the names, dtypes, shapes and offsets of the manifest; refused are soft and
external links, external storage, virtual datasets, variable-length and object types, compound
types, chunks and filters.
"""

from __future__ import annotations

import mmap
import os
import stat
from io import RawIOBase
from pathlib import Path
from typing import Any, NoReturn, Protocol

import h5py
import numpy as np

from hpcad.data.manifest import ArrayEntry, ShardEntry
from hpcad.data.shard_writer import checksum
from hpcad.errors import DataError


class StoredArray(Protocol):
    """An array in a shard: rows by number, in bytes that are read when they are asked for.

    Any number of threads may read at the same time, and a forked child may go on reading. No HDF5
    handle stays open and no lock of HDF5 is taken; there is nothing to close, since open files are
    shared and bounded (:mod:`hpcad.data.descriptors`).

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


# What h5py raises on a file that is not, or no longer, HDF5.
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


def open_shard(directory: Path, entry: ShardEntry, *, verify: bool) -> dict[str, np.ndarray]:
    """Check a shard against its manifest entry and map its arrays.

    Parameters
    ----------
    directory
        Where the shard lies.
    entry
        What the manifest says of it.
    verify
        Also compare the checksums, which reads every byte once.

    Returns
    -------
    dict of str to numpy.ndarray
        Read-only arrays of shape ``(count, *shape)``. They stay valid for as long as they are
        referenced; a file cut short *after* this check ends the process with SIGBUS.

    Raises
    ------
    DataError
        If the file is missing, cut short, not HDF5, disagrees with the manifest, or is damaged.
    """
    path = directory / entry.file
    check_file(path, entry)
    try:
        with open(path, "rb", buffering=0) as file:  # one descriptor: what is checked is mapped
            _check_header(path, file, entry)
            arrays = _map(path, file, entry)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if verify:
        for name, array in arrays.items():
            check_bytes(path, name, array, entry.arrays[name])
    return arrays


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


def _check_header(path: Path, opened: RawIOBase, entry: ShardEntry) -> None:
    """Check what HDF5 says of the shard against the manifest."""
    try:
        # Through a Python file HDF5 takes no lock (they hang on some file systems), and does not
        # mind if the user's own program has the same shard open in another way.
        with h5py.File(opened, "r") as file:
            _check_names(path, file, entry)
            for name, array in entry.arrays.items():
                _check_dataset(path, name, file[name], array)
    except _H5PY_ERRORS as error:
        raise DataError(
            f"{path}: HDF5 cannot read this shard ({_first_line(error)}); copy it again from its "
            "source, or pack the data again"
        ) from error


def check_bytes(path: Path, name: str, array: np.ndarray, entry: ArrayEntry) -> None:
    """Compare the checksum of a mapped array with the manifest's."""
    if (found := checksum(array)) != entry.xxh3:
        raise DataError(
            f"{path}: the checksum of field {name!r} does not match: {found} in the file, "
            f"{entry.xxh3} in the manifest. The data are damaged: copy the shard again from its "
            "source, or pack the data again"
        )


def _check_names(path: Path, file: h5py.File, entry: ShardEntry) -> None:
    names = set(file.keys())
    if names != set(entry.arrays):
        _refuse(path, f"holds {sorted(names)}, the manifest says {sorted(entry.arrays)}")
    for name in names:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            _refuse(path, f"{name!r} is a link to another place; a shard holds its own arrays")


def _check_dataset(path: Path, name: str, dataset: h5py.Dataset, entry: ArrayEntry) -> None:
    if not isinstance(dataset, h5py.Dataset):
        _refuse(path, f"{name!r} is not an array")
    creation = dataset.id.get_create_plist()
    if dataset.is_virtual or creation.get_layout() == h5py.h5d.VIRTUAL:
        _refuse(path, f"{name!r} is a virtual dataset, which reads other files")
    if creation.get_external_count():
        _refuse(path, f"{name!r} uses external storage, which reads other files")
    if dataset.id.get_type().get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
        _refuse(path, f"{name!r} does not hold plain numbers (it is {dataset.dtype})")
    if creation.get_layout() != h5py.h5d.CONTIGUOUS or creation.get_nfilters():
        _refuse(path, f"{name!r} is not stored in one piece (it is chunked, compact or filtered)")
    if (dataset.shape, dataset.dtype) != (entry.shape, entry.dtype):
        _refuse(
            path,
            f"field {name!r} is {dataset.dtype} {dataset.shape}, the manifest says {entry.dtype} "
            f"{entry.shape}",
        )
    place = (dataset.id.get_offset(), dataset.id.get_storage_size())
    if place != (entry.offset, entry.nbytes):
        _refuse(
            path,
            f"field {name!r} lies at byte {place[0]} with {place[1]} bytes, the manifest says "
            f"byte {entry.offset} with {entry.nbytes} bytes",
        )


def _map(path: Path, file: RawIOBase, entry: ShardEntry) -> dict[str, np.ndarray]:
    if os.fstat(file.fileno()).st_size != entry.nbytes:
        raise DataError(f"{path}: this shard changed its size while it was being opened")
    whole = mmap.mmap(file.fileno(), entry.nbytes, access=mmap.ACCESS_READ)
    return {
        name: np.frombuffer(
            whole, array.dtype, count=array.nbytes // array.dtype.itemsize, offset=array.offset
        ).reshape(array.shape)
        for name, array in entry.arrays.items()
    }


def _refuse(path: Path, what: str) -> NoReturn:
    raise DataError(
        f"{path}: {what}. This shard does not belong to its manifest: copy both again from their "
        "source, or pack the data again"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
