"""Samples of different lengths: all their rows in one array, and where each sample begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import FieldSpec
from hpcad.errors import DataError


class Ragged:
    """A batch of samples, of which sample i has its own number of rows n_i.

    Parameters
    ----------
    values : ndarray, shape (total, *shape)
        The rows of all samples, one sample after the other.
    offsets : ndarray of int64, shape (n + 1,)
        Sample i is ``values[offsets[i]:offsets[i + 1]]``; begins with 0, ends with `total`.

    Raises
    ------
    DataError
        The offsets do not divide the values into samples.

    Examples
    --------
    >>> words = Ragged.of([np.array([1, 2]), np.array([3]), np.array([4, 5, 6])])
    >>> len(words), words[2].tolist(), words.lengths.tolist()
    (3, [4, 5, 6], [2, 1, 3])
    >>> words.padded(fill=-1).tolist()
    [[1, 2, -1], [3, -1, -1], [4, 5, 6]]
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: np.ndarray, offsets: np.ndarray) -> None:
        self.values, self.offsets = np.asarray(values), np.asarray(offsets)
        numbers = self.offsets
        integers = numbers.ndim == 1 and len(numbers) > 0 and numbers.dtype.kind in "iu"
        if not integers or not self.values.ndim:
            raise DataError(
                f"ragged samples need rows of values and integer offsets of shape (n + 1,), not "
                f"values of shape {self.values.shape} and offsets {numbers.dtype} {numbers.shape}"
            )
        if numbers[0] != 0 or numbers[-1] != len(self.values):
            raise DataError(
                f"offsets go from {numbers[0]} to {numbers[-1]}, though there are "
                f"{len(self.values)} rows of values"
            )
        if (numbers[1:] < numbers[:-1]).any():
            raise DataError("offsets decrease: a sample would end before it begins")
        self.offsets = numbers.astype(np.int64, copy=False)

    @classmethod
    def of(cls, samples: Sequence[Any]) -> Ragged:
        """Put arrays of shape ``(n_i, *shape)`` together; at least one of them must have rows."""
        arrays = [np.asarray(sample) for sample in samples]
        full = [array for array in arrays if array.size]
        if not full or any(array.ndim == 0 for array in arrays):
            raise DataError("ragged samples must be arrays of rows, one of them with rows at least")
        if len({(array.dtype, array.shape[1:]) for array in full}) != 1:
            kinds = sorted({f"{array.dtype} (n, {array.shape[1:]})" for array in full})
            raise DataError(f"the samples of a ragged field differ in kind: {', '.join(kinds)}")
        lengths = [len(array) if array.size else 0 for array in arrays]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        return cls(np.concatenate(full), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: Any) -> Any:
        """A view: with an integer of one sample, with a slice (step 1) of several."""
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                raise DataError("ragged samples can be sliced in steps of 1 only")
            stop = max(start, stop)
            first, last = self.offsets[start], self.offsets[stop]
            return Ragged(self.values[first:last], self.offsets[start : stop + 1] - first)
        place = int(place)
        if not -len(self) <= place < len(self):
            raise IndexError(f"sample {place} of {len(self)}")
        place %= len(self)
        return self.values[self.offsets[place] : self.offsets[place + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        shape = ", ".join(["n", *map(str, self.values.shape[1:])])
        return f"<{len(self)} samples of {self.values.dtype} ({shape})>"

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each sample; int64, shape ``(n,)``."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """Bytes of values and offsets."""
        return self.values.nbytes + self.offsets.nbytes

    def padded(self, fill: float = 0, length: int | None = None) -> np.ndarray:
        """One array of shape ``(n, length, *shape)``, with ``fill`` behind the end of each sample.

        Parameters
        ----------
        fill
            For the places of rows that a sample does not have.
        length
            By default that of the longest sample. A fixed one gives all batches the same shape.

        Raises
        ------
        DataError
            A sample is longer.
        """
        longest = int(self.lengths.max(initial=0))
        length = longest if length is None else length
        if longest > length:
            raise DataError(
                f"a sample has {longest} rows, which do not fit into a length of {length}; give a "
                "larger length, or cut the samples first"
            )
        result = np.full((len(self), length, *self.values.shape[1:]), fill, self.values.dtype)
        result[self.mask(length)] = self.values
        return result

    def mask(self, length: int) -> np.ndarray:
        """Which places of :meth:`padded` hold a row: bool, shape ``(n, length)``."""
        return np.arange(length) < self.lengths[:, None]


def joined(parts: Sequence[Ragged]) -> Ragged:
    """The samples of several, one after the other."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([part.lengths for part in parts])
    values = np.concatenate([part.values for part in parts])
    return Ragged(values, np.concatenate(([0], np.cumsum(lengths))))


def as_ragged(given: Any, spec: FieldSpec, where: str) -> Ragged:
    """Samples of a ragged field: a :class:`Ragged`, ``(values, offsets)``, or a list of arrays.

    Raises
    ------
    DataError
        They are of another shape or dtype, or the offsets do not fit; it begins with `where`.
    """
    empty = Ragged(np.empty((0, *spec.shape), spec.dtype), np.zeros(1, np.int64))
    try:
        if isinstance(given, tuple) and len(given) == 2:
            found = Ragged(*given)
        elif isinstance(given, Ragged):
            found = given
        elif any(np.size(sample) for sample in given):
            found = Ragged.of(given)
        else:
            found = Ragged(empty.values, np.zeros(len(given) + 1, np.int64))
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    dtype = found.values.dtype.newbyteorder("<")
    if (found.values.shape[1:], dtype) != (spec.shape, spec.dtype):
        shape = ", ".join(["n", *map(str, found.values.shape[1:])])
        raise DataError(f"{where} has samples of {dtype.name} ({shape}), expected {spec}")
    return found
