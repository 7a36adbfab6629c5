"""Who writes what: replicated arrays are divided over the ranks, sharded ones stay in place."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend import to_host
from hpcad.checkpoint.disk import PAGE
from hpcad.checkpoint.format import STORED_DTYPES, check_names
from hpcad.errors import CheckpointError

#: A rank writes at least that many bytes (if there are that many), for a file costs time too.
SMALLEST_PART = 1 << 20


@dataclass(frozen=True)
class Slice:
    """What one rank holds of an array that is divided over the ranks.

    The slices of all ranks must cover the array exactly once.

    Attributes
    ----------
    array : array
        Its elements, of any shape, are the elements ``start`` to ``start + array.size`` of the
        whole array in C order. It may be empty.
    shape : tuple of int
        Of the whole array.
    start : int
    """

    array: Any
    shape: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Piece:
    """The elements `start` to `start + count` of an array, which one rank writes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    count: int

    @property
    def nbytes(self) -> int:
        """Bytes of these elements."""
        return self.count * np.dtype(self.dtype).itemsize

    @property
    def whole(self) -> bool:
        """Whether these are all elements of the array."""
        return self.count == math.prod(self.shape)


Arrays = Mapping[str, Any]  # name -> array or Slice


def describe(arrays: Arrays) -> list[Piece]:
    """Return what this rank holds: whole arrays, and its slices of others.

    Raises
    ------
    CheckpointError
        A name or a dtype cannot be stored.
    """
    check_names(list(arrays))
    return [_held(name, array) for name, array in arrays.items()]


def divide(pieces: Sequence[Piece], size: int, smallest: int = SMALLEST_PART) -> list[list[Piece]]:
    """Divide whole arrays evenly over `size` ranks.

    All arrays one behind the other are cut at multiples of 4 KiB from the beginning of the array
    in which the cut lies. So every rank writes a `size`-th of the bytes, and at most one run of
    elements of any array.

    Parameters
    ----------
    pieces : sequence of Piece
        Whole arrays.
    size : int
    smallest : int
        Bytes. Where there are fewer for each rank, only some ranks write.

    Returns
    -------
    list of list of Piece
        What each rank writes; nothing for some.
    """
    ends = list(itertools.accumulate((piece.nbytes for piece in pieces), initial=0))
    writers = max(1, min(size, ends[-1] // max(smallest, 1)))
    shares: list[list[Piece]] = [[] for _ in range(size)]
    cuts = [_cut(pieces, ends, ends[-1] * i // writers) for i in range(writers)]
    cuts.append((len(pieces), 0))
    for i in range(writers):
        # Spread over the ranks, and so over the nodes.
        shares[i * size // writers] = list(_between(pieces, cuts[i], cuts[i + 1]))
    return shares


def values(arrays: Arrays, pieces: Sequence[Piece]) -> list[np.ndarray]:
    """Return the bytes of `pieces`, of the arrays that this rank holds.

    Returns
    -------
    list of uint8 arrays
        Views of contiguous arrays on the host; copies of all others.
    """
    return [_bytes_of(arrays[piece.name], piece) for piece in pieces]


def _held(name: str, array: Any) -> Piece:
    data = array.array if isinstance(array, Slice) else array
    data = data if hasattr(data, "dtype") else np.asarray(data)
    dtype = np.dtype(data.dtype).newbyteorder("<").str
    if dtype not in STORED_DTYPES:
        raise CheckpointError(
            f"array {name!r} has dtype {data.dtype}, which a checkpoint cannot store: "
            "use bool, integers or floats (a complex array as its real and imaginary part)"
        )
    count = math.prod(data.shape)
    if not isinstance(array, Slice):
        return Piece(name, dtype, tuple(data.shape), 0, count)
    if not 0 <= array.start <= math.prod(array.shape) - count:
        raise CheckpointError(
            f"the slice of array {name!r} begins at element {array.start} and has {count}, which "
            f"an array of shape {tuple(array.shape)} does not have; check start= and shape="
        )
    return Piece(name, dtype, tuple(array.shape), array.start, count)


def _cut(pieces: Sequence[Piece], ends: list[int], byte: int) -> tuple[int, int]:
    """Return the place at or before `byte` of all bytes: which piece, and which element of it."""
    index = max(bisect.bisect_right(ends, byte) - 1, 0)
    if index >= len(pieces):
        return len(pieces), 0
    within = (byte - ends[index]) // PAGE * PAGE
    return index, within // np.dtype(pieces[index].dtype).itemsize


def _between(pieces: Sequence[Piece], begin: tuple[int, int], end: tuple[int, int]) -> list[Piece]:
    found = []
    for index in range(begin[0], min(end[0] + 1, len(pieces))):
        piece = pieces[index]
        first = begin[1] if index == begin[0] else 0
        last = end[1] if index == end[0] else piece.count
        if last > first:
            found.append(Piece(piece.name, piece.dtype, piece.shape, first, last - first))
    return found


def _bytes_of(array: Any, piece: Piece) -> np.ndarray:
    if isinstance(array, Slice):
        first, data = piece.start - array.start, array.array
    else:
        first, data = piece.start, array
    if not hasattr(data, "reshape"):
        data = np.asarray(data)
    flat = to_host(data.reshape(-1)[first : first + piece.count])
    return np.ascontiguousarray(flat, np.dtype(piece.dtype)).view(np.uint8)
