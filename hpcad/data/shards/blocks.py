"""Checksums of blocks: what is read of a large array is checked without reading all of it.

A block is some whole rows, of at least 64 KiB where the array has them. The XXH3-64 of every block
stands in a table in the shard; the manifest has the checksum of the table. So a sample can be
checked at the price of reading its block, and damage is told apart to the rows that it hit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xxhash

from hpcad.data.manifest.contents import ArrayEntry
from hpcad.data.shards.chunked import groups
from hpcad.data.shards.contiguous import ContiguousArray, check_read
from hpcad.data.shards.descriptors import StoredFile
from hpcad.errors import DataError

BLOCK_BYTES = 64 * 2**10
_AT_ONCE = 4 * 2**20  # bytes of blocks that are in memory together


def rows_per_block(row_bytes: int, rows: int) -> int:
    """Rows of a block of an array with so many rows of so many bytes."""
    return min(rows, max(1, -(-BLOCK_BYTES // row_bytes)))


def block_hashes(array: np.ndarray, rows: int) -> np.ndarray:
    """XXH3-64 of each block of a C-contiguous array; uint64, shape ``(ceil(n / rows),)``."""
    starts = range(0, len(array), rows)
    return np.array([_hash(array[start : start + rows]) for start in starts], "<u8")


def read_table(file: StoredFile, name: str, entry: ArrayEntry) -> np.ndarray:
    """The table of an array's blocks, checked; uint64, shape ``(blocks,)``.

    Raises
    ------
    DataError
        The table is damaged or cannot be read.
    """
    table = entry.blocks
    if table is None:
        raise DataError(f"{file.path}: field {name!r} has no checksums of blocks; pack it again")
    count = -(-entry.shape[0] // table.rows)
    hashes = np.empty(count, "<u8")
    ContiguousArray(file, table.offset, (count,), hashes.dtype).read(np.arange(count), hashes)
    found = xxhash.xxh3_128_hexdigest(hashes.data)
    if found != table.xxh3:
        raise DataError(
            f"{file.path}: the checksum of field {name!r} does not match: its table of blocks has "
            f"{found}, the manifest says {table.xxh3}. The data are damaged: copy the shard again "
            "from its source, or pack the data again"
        )
    return hashes


class VerifiedArray:
    """A contiguous array of which nothing is given out before its block was compared.

    Parameters
    ----------
    array : ContiguousArray
    name : str
        For errors.
    rows : int
        Of a block.
    hashes : ndarray of uint64
        Of the blocks.
    """

    def __init__(self, array: ContiguousArray, name: str, rows: int, hashes: np.ndarray) -> None:
        self.array, self.name, self.rows = array, name, rows
        self.shape, self.dtype = array.shape, array.dtype
        self._hashes = hashes
        # The same bytes, with blocks as rows; the last block may be a shorter one.
        self._full, rest = divmod(len(array), rows)
        one = (rows, *array.shape[1:])
        self._blocks = ContiguousArray(array.file, array.offset, (self._full, *one), array.dtype)
        offset = array.offset + self._full * self._blocks.row_bytes
        self._last = ContiguousArray(array.file, offset, (1, rest, *one[1:]), array.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<verified {self.array!r}>"

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Read rows as :meth:`ContiguousArray.read` does, from blocks that were compared.

        Raises
        ------
        DataError
            As there, or a block is damaged.
        """
        check_read(self.array.file.path, self.shape, self.dtype, rows, out)
        if not len(rows):
            return
        if self.rows == 1:
            self.array.read(rows, out)
            for row, sample in zip(rows.tolist(), out, strict=True):
                self._check(row, sample)
            return
        numbers, which = np.unique(rows // self.rows, return_inverse=True)
        step = self._at_once
        for part, places in groups(which // step):
            first = part * step
            blocks = self._verified(numbers[first : first + step])
            flat = blocks.reshape(-1, *self.shape[1:])
            within = (which[places] - first) * self.rows + rows[places] % self.rows
            if len(places) == len(rows):
                np.take(flat, within, axis=0, out=out, mode="clip")
            else:
                out[places] = flat[within]

    def check_all(self) -> None:
        """Compare every block; :class:`DataError` names the first damaged one."""
        count, step = len(self._hashes), self._at_once
        for start in range(0, count, step):
            self._verified(np.arange(start, min(start + step, count)))

    @property
    def _at_once(self) -> int:
        return max(1, _AT_ONCE // (self.rows * self.array.row_bytes))

    def _verified(self, numbers: np.ndarray) -> np.ndarray:
        """Some blocks, ascending; of a shorter last one the end is undefined."""
        found = np.empty((len(numbers), self.rows, *self.shape[1:]), self.dtype)
        full = len(numbers) - int(numbers[-1] == self._full)
        self._blocks.read(numbers[:full], found[:full])
        if full < len(numbers):
            rest = self._last.shape[1]
            self._last.read(np.zeros(1, np.int64), found[full:, :rest])
        for number, block in zip(numbers.tolist(), self._trimmed(found, full), strict=True):
            self._check(number, block)
        return found

    def _trimmed(self, found: np.ndarray, full: int) -> Iterator[np.ndarray]:
        yield from found[:full]
        if full < len(found):
            yield found[full, : self._last.shape[1]]

    def _check(self, number: int, block: np.ndarray) -> None:
        found, expected = _hash(block), int(self._hashes[number])
        if found != expected:
            first = number * self.rows
            last = min(first + self.rows, len(self)) - 1
            raise DataError(
                f"{self.array.file.path}: the checksum of field {self.name!r} does not match: rows "
                f"{first} to {last} have {found:016x}, expected {expected:016x}. The data are "
                "damaged: copy the shard again from its source, or pack the data again"
            )


def _hash(block: np.ndarray) -> int:
    return xxhash.xxh3_64_intdigest(block.reshape(-1).view(np.uint8).data)
