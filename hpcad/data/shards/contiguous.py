"""An array that lies in one piece in a file, read by rows without mapping it.

The bytes come by ``pread`` at the offset that the manifest states: faster than h5py, without its
interpreter-wide lock, and a file that is cut short while it is in use gives an error, not the
signal that ends a process with a mapped file.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.shards.descriptors import OPEN, StoredFile
from hpcad.data.shards.gather import GatherError, gather, pieces
from hpcad.errors import DataError


class ContiguousArray:
    """Rows of an array in a file; any number of threads may read, and forked children too.

    Parameters
    ----------
    file : StoredFile
        Shared by all arrays of one file, so that it is opened once.
    offset : int
        First byte of the array.
    shape : tuple of int
        The first axis counts rows.
    dtype : dtype
        Of plain numbers.

    Raises
    ------
    DataError
        The array does not fit into the file.

    Examples
    --------
    >>> file = StoredFile(Path("shard.h5"), 100)
    >>> array = ContiguousArray(file, 20, (10, 2), np.dtype("<f4"))
    >>> array.row_bytes, len(array)
    (8, 10)
    """

    def __init__(
        self, file: StoredFile, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.file, self.offset = file, offset
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        if offset < 0 or not self.shape or offset + self.nbytes > file.size:
            raise DataError(
                f"{file.path}: an array of {self.nbytes} bytes at byte {offset} does not fit into "
                f"a file of {file.size} bytes"
            )

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return self.shape[0] * self.row_bytes

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{self.dtype.name} {self.shape} at byte {self.offset} of {self.file.path}>"

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Read rows into an array, in the order asked.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            From 0 to ``len(self) - 1``.
        out : ndarray, shape (n, *shape[1:])
            Of this dtype; C-contiguous and writable.

        Raises
        ------
        DataError
            A row does not exist, `out` does not fit, or the file cannot be read.
        """
        check_read(self.file.path, self.shape, self.dtype, rows, out)
        if not len(rows):
            return
        (descriptor,) = OPEN.borrow([self.file])
        table = pieces(
            descriptor.number,
            self.offset + np.asarray(rows, np.int64) * self.row_bytes,
            self.row_bytes,
            np.arange(len(rows), dtype=np.int64) * self.row_bytes,
        )
        try:
            gather(table, out)
        except GatherError as error:
            raise unreadable(self.file.path, error) from error


def check_target(out: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """DataError unless `out` can take such rows in place."""
    if out.shape != shape or out.dtype != dtype:
        raise DataError(f"out= is {out.dtype} {out.shape}; what is read into it is {dtype} {shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise DataError("out= must be a C-contiguous and writable array")


def check_read(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], rows: np.ndarray, out: np.ndarray
) -> None:
    """DataError unless an array of this shape has the rows, and `out` can take them in place."""
    check_target(out, (len(rows), *shape[1:]), dtype)
    if len(rows) and (rows.min() < 0 or rows.max() >= shape[0]):
        raise DataError(f"{path}: rows {rows.min()} to {rows.max()} of an array of {shape[0]}")


def unreadable(path: Path, error: GatherError) -> DataError:
    """What to tell of a piece that could not be read."""
    return DataError(
        f"{path}: cannot be read ({error.reason}); was it cut short or replaced? Copy the shard "
        "again from its source, or pack the data again"
    )
