"""An array in chunks, perhaps compressed, read without HDF5.

HDF5 is asked once where the chunks lie (:mod:`hpcad.data.shards.chunk_index`). From then on their
bytes come by ``pread``, and :mod:`hpcad.data.shards.filters` checks and inflates them: without
HDF5's lock, so several threads really decode at the same time, and fit to be inherited by a fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import numpy as np
import xxhash

from hpcad.data.manifest.contents import ArrayEntry
from hpcad.data.shards.chunk_cache import CACHE
from hpcad.data.shards.chunk_index import ChunkPlaces
from hpcad.data.shards.contiguous import check_read
from hpcad.data.shards.descriptors import OPEN, StoredFile
from hpcad.data.shards.filters import FilterError, decode
from hpcad.errors import DataError


class ChunkedArray:
    """Rows of a chunked array in a file; any number of threads may read, and forked children too.

    Parameters
    ----------
    file : StoredFile
        Shared by all arrays of one file.
    name : str
        Of the array, for errors.
    entry : ArrayEntry
        Shape, dtype, rows of a chunk, and filters.
    places : ChunkPlaces
        Of each chunk.
    hashes : ndarray of uint64, optional
        XXH3-64 of the decoded rows of each chunk; compared whenever one is decoded.
    """

    def __init__(
        self,
        file: StoredFile,
        name: str,
        entry: ArrayEntry,
        places: ChunkPlaces,
        hashes: np.ndarray | None = None,
    ) -> None:
        self.file, self.name, self.entry = file, name, entry
        self.shape, self.dtype = entry.shape, entry.dtype
        self._places, self._hashes = places, hashes
        self._key = object()  # in the cache; kept alive by it, so never that of another array

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{self.dtype.name} {self.shape} in chunks of {self.file.path}>"

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Read rows into an array, in the order asked; each chunk is decoded once.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            From 0 to ``len(self) - 1``.
        out : ndarray, shape (n, *shape[1:])
            Of this dtype; C-contiguous and writable.

        Raises
        ------
        DataError
            A row does not exist, `out` does not fit, or a chunk is damaged or cannot be read.
        """
        check_read(self.file.path, self.shape, self.dtype, rows, out)
        if not len(rows):
            return
        for index, places in groups(rows // self.entry.chunk):
            chunk = CACHE.get((self._key, index), partial(self.decoded, index))
            within = rows[places] - index * self.entry.chunk
            if places[-1] - places[0] == len(places) - 1:  # they ascend, so these lie together
                target = out[places[0] : places[-1] + 1]
                np.take(chunk, within, axis=0, out=target, mode="clip")
            else:
                out[places] = chunk[within]

    def decoded(self, index: int) -> np.ndarray:
        """The rows of one chunk, from the file; the last one may have fewer.

        Raises
        ------
        DataError
            The chunk is damaged or cannot be read.
        """
        entry = self.entry
        size = entry.chunk * entry.row_bytes
        stored = self._stored(index)
        try:
            data = decode(
                stored, entry.filters, int(self._places.masks[index]), size, self.dtype.itemsize
            )
        except FilterError as error:
            raise self._damaged(index, str(error)) from error
        rows = min(entry.chunk, len(self) - index * entry.chunk)
        data = data[: rows * entry.row_bytes]
        if self._hashes is not None:
            found = xxhash.xxh3_64_intdigest(data.data)
            if found != int(self._hashes[index]):
                raise self._damaged(
                    index, f"its XXH3 is {found:016x}, expected {int(self._hashes[index]):016x}"
                )
        return data.view(self.dtype).reshape(rows, *self.shape[1:])

    def check_all(self) -> None:
        """Decode every chunk, and keep none; :class:`DataError` names the first damaged one."""
        for index in range(len(self._places.offsets)):
            self.decoded(index)

    def _stored(self, index: int) -> bytes:
        offset, size = int(self._places.offsets[index]), int(self._places.sizes[index])
        (descriptor,) = OPEN.borrow([self.file])
        parts, done = [], 0
        while done < size:
            try:
                part = os.pread(descriptor.number, size - done, offset + done)
            except OSError as error:
                raise DataError(
                    f"{self.file.path}: cannot be read ({error.strerror or error})"
                ) from error
            if not part:
                raise self._damaged(index, "the file ends too early")
            parts.append(part)
            done += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _damaged(self, index: int, what: str) -> DataError:
        first = index * self.entry.chunk
        last = min(first + self.entry.chunk, len(self)) - 1
        return DataError(
            f"{self.file.path}: the checksum of field {self.name!r} does not match: chunk {index} "
            f"(rows {first} to {last}) is damaged, {what}. Copy the shard again from its source, "
            "or pack the data again"
        )


def groups(numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each different number, ascending, with the places where it stands, ascending too."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    stops = [*starts[1:].tolist(), len(ordered)]
    for start, stop in zip(starts.tolist(), stops, strict=True):
        yield int(ordered[start]), order[start:stop]
