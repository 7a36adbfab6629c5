"""The same bytes in the same order by nothing but the system call, to compare reading with."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from hpcad.data.dataset import Dataset
from hpcad.data.shards.contiguous import ContiguousArray
from hpcad.data.shards.descriptors import OPEN, Descriptor
from hpcad.data.shards.opening import open_shard
from hpcad.data.windows import TokenWindows


class RawReading:
    """``os.preadv`` in a loop, one call for each field of each sample.

    Parameters
    ----------
    dataset : Dataset
        Without ragged fields and chunks; see :meth:`possible`.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        shards = dataset.manifest.shards
        self._stops = np.cumsum([shard.count for shard in shards])
        self._opened: dict[int, Mapping[str, ContiguousArray]] = {}

    @staticmethod
    def possible(dataset: Dataset) -> bool:
        """Whether every sample is a stretch of bytes that the manifest tells."""
        manifest = dataset.manifest
        ragged = any(field.ragged for field in manifest.fields.values())
        entries = (entry for shard in manifest.shards for entry in shard.arrays.values())
        return not ragged and not any(entry.chunk for entry in entries)

    def prepare(self, ids: np.ndarray) -> Requests:
        """The requests for a batch, with its files open; this is not what is to be timed."""
        calls, total = [], 0
        for first, count in self._rows(ids):
            for shard, row, rows in self._within_shards(first, count):
                for array in self._arrays(shard).values():
                    size = rows * array.row_bytes
                    calls.append((array, array.offset + row * array.row_bytes, size))
                    total += size
        return Requests(calls, total)

    def _rows(self, ids: np.ndarray) -> list[tuple[int, int]]:
        if isinstance(self._dataset, TokenWindows):
            stride, length = self._dataset.stride, self._dataset.window + 1
            return [(i * stride, length) for i in ids.tolist()]
        return [(i, 1) for i in ids.tolist()]

    def _within_shards(self, first: int, count: int) -> list[tuple[int, int, int]]:
        found = []
        while count:
            shard = int(np.searchsorted(self._stops, first, side="right"))
            entry = self._dataset.manifest.shards[shard]
            rows = min(count, int(self._stops[shard]) - first)
            found.append((shard, first - int(self._stops[shard]) + entry.count, rows))
            first, count = first + rows, count - rows
        return found

    def _arrays(self, shard: int) -> Mapping[str, ContiguousArray]:
        if shard not in self._opened:
            entry = self._dataset.manifest.shards[shard]
            arrays = open_shard(self._dataset.directory, entry, verify=False)
            self._opened[shard] = {
                name: array for name, array in arrays.items() if isinstance(array, ContiguousArray)
            }
        return self._opened[shard]


class Requests:
    """The requests for one batch.

    Attributes
    ----------
    nbytes : int
        Of all of them.
    """

    def __init__(self, calls: list[tuple[ContiguousArray, int, int]], nbytes: int) -> None:
        self.nbytes = nbytes
        self._calls = calls
        self._files = {id(array.file): array.file for array, _, _ in calls}

    def open(self, memory: np.ndarray) -> list[tuple[Descriptor, list[memoryview], int]]:
        """What :func:`read` takes: descriptors, places in memory, offsets."""
        borrowed = OPEN.borrow(list(self._files.values()))
        opened = dict(zip(self._files, borrowed, strict=True))
        view, place, ready = memory.data, 0, []
        for array, offset, size in self._calls:
            ready.append((opened[id(array.file)], [view[place : place + size]], offset))
            place += size
        return ready


def read(ready: list[tuple[Descriptor, list[memoryview], int]]) -> None:
    """Read all of them."""
    preadv = os.preadv
    for descriptor, target, offset in ready:
        preadv(descriptor.number, target, offset)
