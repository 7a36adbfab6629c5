"""Rows of all shards, as if each field were one long array.

A batch in random order touches many shards with a sample or two of each. So what is asked for is
sorted out with NumPy once, and each field is then read with one call into C, whatever the number
of shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import OFFSETS, Manifest
from hpcad.data.ragged import Ragged
from hpcad.data.shards.contiguous import ContiguousArray, unreadable
from hpcad.data.shards.descriptors import OPEN
from hpcad.data.shards.gather import GatherError, gather, pieces
from hpcad.data.shards.opening import open_shard
from hpcad.errors import DataError

# Shards that are read from at once. Each borrows an open file, and several threads may read.
_AT_ONCE = 64


@dataclass(frozen=True)
class _Part:
    """Runs of rows within a few shards.

    Attributes
    ----------
    shards : list of int
        Those touched.
    which : ndarray, shape (n,)
        Index into `shards` of each run.
    firsts, lengths, places : ndarray of int64, shape (n,)
        First row within its shard, rows, and the first row in the target.
    """

    shards: list[int]
    which: np.ndarray
    firsts: np.ndarray
    lengths: np.ndarray
    places: np.ndarray


class ShardRows:
    """Reads rows by their number in the whole dataset; any number of threads may do so.

    Parameters
    ----------
    directory : Path
    manifest : Manifest
    verify : bool or str
        As :func:`~hpcad.data.shards.opening.open_shard` takes it.

    Attributes
    ----------
    reads : int
        Requests to the operating system for samples so far (approximate under several threads).
    """

    def __init__(self, directory: Path, manifest: Manifest, verify: bool | str) -> None:
        self.directory, self.manifest = directory, manifest
        self.reads = 0
        self._verify = verify
        self._stops = np.cumsum([shard.count for shard in manifest.shards], dtype=np.int64)
        self._begins = self._stops - [shard.count for shard in manifest.shards]
        self._rows_of: dict[str, np.ndarray] = {}
        self._opened: dict[int, Mapping[str, Any]] = {}

    def read(self, rows: np.ndarray, targets: Mapping[str, np.ndarray]) -> None:
        """Read the same rows of several fields.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            Within bounds.
        targets : mapping of str to ndarray, shape (n, ...)
            Contiguous, of the fields' dtypes.

        Raises
        ------
        DataError
            A shard is missing, damaged, or cannot be read.
        """
        n = len(rows)
        self._read(rows, np.ones(n, np.int64), np.arange(n, dtype=np.int64), targets)

    def read_runs(self, name: str, firsts: np.ndarray, length: int, target: np.ndarray) -> None:
        """Read runs of `length` rows, which may cross the borders of shards.

        Parameters
        ----------
        name : str
            The field.
        firsts : ndarray of int64, shape (n,)
            First row of each run; the runs are within bounds.
        target : ndarray, shape (n, length, ...)
        """
        n = len(firsts)
        lengths = np.full(n, length, np.int64)
        places = np.arange(n, dtype=np.int64) * length
        flat = target.reshape(n * length, *target.shape[2:])
        while len(firsts):
            # The part up to the end of its shard; what is left of it is the next round's.
            room = self._stops[self._shards_of(firsts)] - firsts
            now = np.minimum(lengths, room)
            self._read(firsts, now, places, {name: flat})
            left = np.flatnonzero(lengths > now)
            firsts, places = (firsts + now)[left], (places + now)[left]
            lengths = (lengths - now)[left]

    def read_ragged(self, name: str, rows: np.ndarray) -> Ragged:
        """Read samples of a ragged field: first where each begins and ends, then their rows.

        Parameters
        ----------
        name : str
        rows : ndarray of int64, shape (n,)
            Numbers of samples, within bounds.

        Raises
        ------
        DataError
            As :meth:`read`, or a sample would lie outside of its shard.
        """
        n = len(rows)
        shards = self._shards_of(rows)
        bounds = np.empty(2 * n, np.int64)
        twice = (np.full(n, 2), 2 * np.arange(n))  # a begin and an end lie beside each other
        self._read_local(shards, rows - self._begins[shards], *twice, {name + OFFSETS: bounds})
        starts, stops = bounds[::2], bounds[1::2]
        if ((starts < 0) | (stops < starts) | (stops > self._ends(name)[shards])).any():
            raise DataError(
                f"{self.directory}: a sample of field {name!r} would lie outside of its shard; the "
                "data are damaged: run 'hpcad data verify'"
            )
        lengths = stops - starts
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        field = self.manifest.fields[name]
        values = np.empty((offsets[-1], *field.shape), field.dtype)
        some = np.flatnonzero(lengths)
        runs = (shards[some], starts[some], lengths[some], offsets[some])
        self._read_local(*runs, {name: values})
        return Ragged(values, offsets)

    def shard(self, index: int) -> Mapping[str, Any]:
        """The arrays of a shard, opened and checked when it is first needed."""
        # Two threads may open the same shard at once; both are right and one is dropped.
        if (arrays := self._opened.get(index)) is None:
            entry = self.manifest.shards[index]
            arrays = open_shard(self.directory, entry, verify=self._verify)
            self._opened[index] = arrays
        return arrays

    def _shards_of(self, rows: np.ndarray) -> np.ndarray:
        if len(self._stops) == 1:
            return np.zeros(len(rows), np.int64)
        return np.searchsorted(self._stops, rows, side="right")

    def _read(
        self,
        rows: np.ndarray,
        lengths: np.ndarray,
        places: np.ndarray,
        targets: Mapping[str, np.ndarray],
    ) -> None:
        shards = self._shards_of(rows)
        self._read_local(shards, rows - self._begins[shards], lengths, places, targets)

    def _ends(self, name: str) -> np.ndarray:
        """Rows of values of a ragged field in each shard."""
        if name not in self._rows_of:
            rows = [shard.arrays[name].shape[0] for shard in self.manifest.shards]
            self._rows_of[name] = np.array(rows)
        return self._rows_of[name]

    def _read_local(
        self,
        shards: np.ndarray,
        firsts: np.ndarray,
        lengths: np.ndarray,
        places: np.ndarray,
        targets: Mapping[str, np.ndarray],
    ) -> None:
        for part in _parts(shards, firsts, lengths, places):
            opened = [self.shard(index) for index in part.shards]
            for name, target in targets.items():
                arrays = [shard[name] for shard in opened]
                contiguous = all(isinstance(array, ContiguousArray) for array in arrays)
                requests = (_gather if contiguous else _one_by_one)(part, arrays, target)
                self.reads += requests  # not in one line: others count while this one reads


def _parts(
    shards: np.ndarray, firsts: np.ndarray, lengths: np.ndarray, places: np.ndarray
) -> Iterator[_Part]:
    names = sorted(set(shards.tolist()))  # quicker than np.unique for the few of a batch
    which = np.searchsorted(np.array(names), shards)
    if 0 < len(names) <= _AT_ONCE:
        yield _Part(names, which, firsts, lengths, places)
        return
    for begin in range(0, len(names), _AT_ONCE):
        some = np.flatnonzero((which >= begin) & (which < begin + _AT_ONCE))
        yield _Part(
            names[begin : begin + _AT_ONCE],
            *(which[some] - begin, firsts[some], lengths[some], places[some]),
        )


def _gather(part: _Part, arrays: Sequence[ContiguousArray], target: np.ndarray) -> int:
    """Read from contiguous arrays, all in one call."""
    borrowed = OPEN.borrow([array.file for array in arrays])  # open for as long as this name lives
    numbers = np.array([each.number for each in borrowed], np.int32)
    offsets = np.array([array.offset for array in arrays], np.int64)
    size = arrays[0].row_bytes
    starts = offsets[part.which] + part.firsts * size
    table = pieces(numbers[part.which], starts, part.lengths * size, part.places * size)
    try:
        return gather(table, target)
    except GatherError as error:
        raise unreadable(arrays[part.which[error.piece]].file.path, error) from error


def _one_by_one(part: _Part, arrays: Sequence[Any], target: np.ndarray) -> int:
    """Read from arrays of any kind, shard after shard."""
    for k, array in enumerate(arrays):
        some = np.flatnonzero(part.which == k)
        lengths = part.lengths[some]
        rows = _expanded(part.firsts[some], lengths)
        places = _expanded(part.places[some], lengths)
        if places[-1] - places[0] == len(places) - 1:  # places ascend, so these lie together
            array.read(rows, target[places[0] : places[-1] + 1])
        else:
            found = np.empty((len(rows), *target.shape[1:]), target.dtype)
            array.read(rows, found)
            target[places] = found
    return len(arrays)


def _expanded(firsts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``firsts[i], firsts[i] + 1, ...``, ``lengths[i]`` of each."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(firsts - before, lengths) + np.arange(lengths.sum())
