"""Splitting a dataset into parts at random, reproducibly, in memory that does not grow with it.

Sample i belongs to the part that its position in a permutation of all samples falls into: the
first round(f_1 N) positions are the first part, and so on. Within a part the samples keep their
order, so that shards are read from front to back. Where a part's samples are is found with counts
of blocks of samples; what is in a block is computed again when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import fsum, isclose
from typing import Any

import numpy as np

from hpcad.data.dataset import Dataset
from hpcad.data.manifest.contents import FILE_NAME
from hpcad.data.order.permutation import Permutation
from hpcad.data.packing.parallel import Provenance
from hpcad.data.sources.source import CHUNK_BYTES, Source
from hpcad.errors import DataError

_BLOCK = 2**16


class Parts:
    """Which samples belong to which part.

    Parameters
    ----------
    n : int
        Samples in all.
    fractions : sequence of float
        Of the parts; they add up to 1.
    seed : int or None
        None: the parts are stretches, one after the other.

    Attributes
    ----------
    counts : list of int
        Samples of each part.

    Raises
    ------
    DataError
        The fractions do not add up to 1, or a part would be empty.

    Examples
    --------
    >>> parts = Parts(10, [0.7, 0.3], seed=1)
    >>> sorted([*parts.ids(0, 0, 7).tolist(), *parts.ids(1, 0, 3).tolist()])
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(self, n: int, fractions: list[float], seed: int | None) -> None:
        if not fractions or min(fractions) <= 0 or not isclose(fsum(fractions), 1, abs_tol=1e-9):
            told = ", ".join(map(str, fractions))
            raise DataError(f"fractions are above 0 and add up to 1, for example 0.9,0.1: {told}")
        self._borders = [round(fsum(fractions[: k + 1]) * n) for k in range(len(fractions))]
        self.counts = np.diff([0, *self._borders]).tolist()
        if min(self.counts) < 1:
            raise DataError(f"{n} samples are too few: the parts would have {self.counts}")
        self._n = n
        self._order = None if seed is None else Permutation(n, seed)
        self._before: np.ndarray | None = None

    def ids(self, part: int, start: int, stop: int) -> np.ndarray:
        """Samples number start to stop (excluded) of a part, ascending; int64."""
        if self._order is None:
            begin = self._borders[part] - self.counts[part]
            return np.arange(begin + start, begin + stop, dtype=np.int64)
        before = self._table()[:, part]
        block = int(np.searchsorted(before, start, side="right")) - 1
        found, have, first = [], 0, int(before[block])
        while first + have < stop:
            ids = self._block(block)
            found.append(ids[self._part_of(ids) == part])
            have += len(found[-1])
            block += 1
        return np.concatenate(found)[start - first : stop - first] if found else self._block(0)[:0]

    def _table(self) -> np.ndarray:
        """Samples of each part that come before each block; int64, shape (blocks, parts)."""
        if self._before is None:
            blocks = -(-self._n // _BLOCK)
            counts = np.zeros((blocks + 1, len(self.counts)), np.int64)
            for block in range(blocks):
                parts = self._part_of(self._block(block))
                counts[block + 1] = np.bincount(parts, minlength=len(self.counts))
            self._before = np.cumsum(counts, axis=0)[:-1]
        return self._before

    def _block(self, block: int) -> np.ndarray:
        return np.arange(block * _BLOCK, min((block + 1) * _BLOCK, self._n), dtype=np.int64)

    def _part_of(self, ids: np.ndarray) -> np.ndarray:
        assert self._order is not None
        return np.searchsorted(self._borders, self._order.inverse(ids), side="right")


def split_sources(dataset: Dataset, fractions: Mapping[str, float], seed: int = 0) -> list[Source]:
    """The parts of a dataset, to be packed with :func:`~hpcad.data.pack_all`.

    Parameters
    ----------
    dataset
        Without a window. A stream of tokens is cut into stretches, because tokens at random would
        be no text; the seed does not matter then.
    fractions
        By name of the part; they add up to 1.
    seed
        Of the permutation.

    Raises
    ------
    DataError
        As :class:`Parts`.
    """
    tokens = dataset.manifest.kind == "tokens"
    parts = Parts(len(dataset), [*fractions.values()], None if tokens else seed)
    told = {"of": dataset.hash, "fractions": dict(fractions), "seed": None if tokens else seed}
    return [
        _part(dataset, parts, number, name, told | {"part": name})
        for number, name in enumerate(fractions)
    ]


def provenance(dataset: Dataset) -> Provenance:
    """Where a dataset comes from, for what is made of it."""
    manifest = dataset.manifest
    return Provenance(manifest.source, manifest.licence, manifest.attribution)


def rows_at_once(dataset: Dataset) -> int:
    """Samples of a dataset that make about a chunk."""
    return max(1, CHUNK_BYTES * len(dataset) // max(dataset.manifest.data_bytes, 1))


def _part(dataset: Dataset, parts: Parts, number: int, name: str, told: dict[str, Any]) -> Source:
    rows = rows_at_once(dataset)

    def chunks(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for first in range(start, stop, rows):
            yield dataset.read(parts.ids(number, first, min(first + rows, stop)))

    return Source(
        f"{dataset.directory} ({name})",
        dict(dataset.manifest.fields),
        parts.counts[number],
        chunks,
        kind=dataset.manifest.kind,
        metadata={**dataset.metadata, "split": told},
        files=(dataset.directory / FILE_NAME,),
        options={"split": told},
        sample_bytes=dataset.manifest.data_bytes / len(dataset),
    )
