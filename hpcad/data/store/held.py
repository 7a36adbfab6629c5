"""A contiguous share of a dataset's samples, held in memory, in the form in which it travels.

Fields of one shape are one array. A ragged field is its rows and the places where samples begin. Of
a token stream in windows the tokens are held once, and a window of them is a view: it would take
`2 * window / stride` times the memory to hold inputs and targets of every window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.data.dataset import Dataset
from hpcad.data.ragged import Ragged
from hpcad.data.windows import TokenWindows
from hpcad.errors import DataError

_PIECE = 64 * 2**20  # bytes that are read at a time


class Held:
    """Samples ``start`` to ``stop`` of a dataset. Reads them at once.

    Parameters
    ----------
    dataset : Dataset
    start, stop : int

    Attributes
    ----------
    arrays : dict of str to ndarray, shape (stop - start, ...)
        Of fields whose samples have one shape; of windows over tokens, ``tokens``.
    ragged : dict of str to Ragged

    Raises
    ------
    DataError
        A shard cannot be read, or memory does not suffice.
    """

    def __init__(self, dataset: Dataset, start: int, stop: int) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.ragged: dict[str, Ragged] = {}
        try:
            if isinstance(dataset, TokenWindows):
                self.arrays["tokens"] = _windows(dataset, start, stop)
            else:
                self._load(dataset, start, stop)
        except MemoryError as error:
            raise DataError(
                f"{dataset.directory}: samples {start} to {stop} do not fit into the memory of "
                "this rank; use more nodes, or read from the disk"
            ) from error

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        whole = sum(_base(array).nbytes for array in self.arrays.values())
        return whole + sum(samples.nbytes for samples in self.ragged.values())

    def _load(self, dataset: Dataset, start: int, stop: int) -> None:
        n = stop - start
        whole = {name: field for name, field in dataset.fields.items() if not field.ragged}
        self.arrays = {name: np.empty((n, *f.shape), f.dtype) for name, f in whole.items()}
        grown = {name: _Growing() for name, field in dataset.fields.items() if field.ragged}
        step = max(1, int(_PIECE // max(1.0, sample_bytes(dataset))))
        # Once at least, so that ragged fields without samples have their dtype.
        for first in range(0, max(n, 1), step):
            last = min(first + step, n)
            out = {name: array[first:last] for name, array in self.arrays.items()}
            found: dict[str, Any] = dataset.read(np.arange(start + first, start + last), out)
            for name, growing in grown.items():
                growing.add(found[name])
        self.ragged = {name: growing.finish() for name, growing in grown.items()}


class _Growing:
    """Ragged samples, to which others are added without holding any twice."""

    def __init__(self) -> None:
        self._values = np.empty(0)
        self._offsets = [np.zeros(1, np.int64)]

    def add(self, more: Ragged) -> None:
        if len(self._offsets) == 1:
            self._values = np.empty((0, *more.values.shape[1:]), more.values.dtype)
        before = len(self._values)
        shape = (before + len(more.values), *more.values.shape[1:])
        self._values.resize(shape, refcheck=False)  # large blocks grow in place
        self._values[before:] = more.values
        self._offsets.append(before + more.offsets[1:])

    def finish(self) -> Ragged:
        return Ragged(self._values, np.concatenate(self._offsets))


def sample_bytes(dataset: Dataset) -> float:
    """Bytes that a sample takes when it is held; on average, where there are ragged fields."""
    if isinstance(dataset, TokenWindows):
        return dataset.stride * dataset.fields["x"].dtype.itemsize
    fields = dataset.fields
    ragged = [name for name, field in fields.items() if field.ragged]
    whole: float = sum(field.nbytes for field in fields.values() if not field.ragged)
    if not ragged:
        return whole
    rows = (shard.arrays[name].nbytes for shard in dataset.manifest.shards for name in ragged)
    return whole + 8 * len(ragged) + sum(rows) / len(dataset)


def expanded(firsts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``firsts[i], firsts[i] + 1, ...``, ``lengths[i]`` of each, int64."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(firsts - before, lengths) + np.arange(lengths.sum())


def _windows(dataset: TokenWindows, start: int, stop: int) -> np.ndarray:
    """Windows of ``window + 1`` tokens, as views of the tokens that they share."""
    length = dataset.window + 1
    if start == stop:
        return np.empty((0, length), dataset.fields["x"].dtype)
    first = start * dataset.stride
    count = (stop - 1) * dataset.stride + length - first
    tokens = np.empty(count, dataset.fields["x"].dtype)
    dataset.read_tokens(first, tokens)
    return np.lib.stride_tricks.sliding_window_view(tokens, length)[:: dataset.stride]


def _base(array: np.ndarray) -> np.ndarray:
    """The memory that a view stands on."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
