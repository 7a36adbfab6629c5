"""Random numbers as a function: Philox4x32-10.

A number is a pure function of (seed, stream name, step, element index). It does not depend on
how many ranks there are, on what was drawn before, or on whether the job was resumed.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC11, doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.backend.protocol import Array, Shape

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

Key = tuple[int, int]

PIECE = 1 << 14  # numbers drawn at a time
COMPILED = 1024  # numbers from which on a compiled routine is worth its call


def philox4x32(counter: tuple[Array, ...], key: Key) -> tuple[Array, ...]:
    """Apply ten rounds of Philox4x32.

    Parameters
    ----------
    counter : four uint64 arrays of one shape, each value below 2**32
    key : two integers below 2**32

    Returns
    -------
    four uint64 arrays, each value below 2**32
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0),
            p1 & _MASK,
            (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1),
            p0 & _MASK,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return c0, c1, c2, c3


class Stream:
    """One named stream of random numbers.

    Parameters
    ----------
    seed : int
        The seed of the job.
    name : str
        What the numbers are for, for example a parameter's name.
    """

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.blake2b(f"{seed}|{name}".encode(), digest_size=8).digest()
        self.key: Key = (
            int.from_bytes(digest[:4], "little"),
            int.from_bytes(digest[4:], "little"),
        )

    def uniform(self, shape: Shape, dtype: Any = np.float64, *, step: int = 0) -> Array:
        """Uniform numbers in [0, 1) for the element indices 0 ... size-1, row-major."""
        return _in_pieces(lambda index: self._uniform(index, step, dtype), shape, dtype)

    def normal(self, shape: Shape, dtype: Any = np.float64, *, step: int = 0) -> Array:
        """Standard normal numbers by the Box-Muller transform."""
        return _in_pieces(lambda index: self._normal(index, step), shape, dtype)

    def uniform_rows(self, rows: Array, width: int, dtype: Any, *, step: int = 0) -> Array:
        """Uniform numbers of the rows with global indices ``rows``.

        They depend on the row's index, not on its place, so a sample gets the same numbers
        whichever rank computes it. 24 random bits each.

        Returns
        -------
        array, shape (len(rows), width)
        """
        return rows_of(self.key, rows, width, dtype, step)

    def _normal(self, index: Array, step: int) -> Array:
        bits = _bits(self.key, index, step)
        radius = np.sqrt(-2.0 * np.log1p(-_unit(bits[0], bits[1])))
        return radius * np.cos(2.0 * np.pi * _unit(bits[2], bits[3]))

    def _uniform(self, index: Array, step: int, dtype: Any) -> Array:
        bits = _bits(self.key, index, step)
        if np.dtype(dtype) == np.float32:
            return _unit32(bits[0])
        return _unit(bits[0], bits[1]).astype(dtype)


def _in_pieces(draw: Callable[[Array], Array], shape: Shape, dtype: Any) -> Array:
    """What is drawn for the indices of an array, whose temporaries stay in cache."""
    size = math.prod(shape)
    numbers = np.empty(size, dtype)
    for start in range(0, size, PIECE):
        stop = min(start + PIECE, size)
        numbers[start:stop] = draw(np.arange(start, stop, dtype=np.uint64))
    return numbers.reshape(shape)


def rows_of(key: Key, rows: Array, width: int, dtype: Any, step: int) -> Array:
    """:meth:`Stream.uniform_rows` of the stream with this key."""
    from hpcad.backend.native.philox import UniformRows

    ids = np.ascontiguousarray(rows, np.uint64)
    spec = UniformRows(str(np.dtype(dtype)), ids.size, width, key)
    if ids.size * width < COMPILED or not spec.supported:
        return rows_in_numpy(key, ids, width, dtype, step)
    numbers = np.empty((ids.size, width), dtype)
    when = np.array(step & 0xFFFFFFFFFFFFFFFF, np.uint64)
    spec.bind(ids.ctypes.data, when.ctypes.data, numbers.ctypes.data)()
    return numbers


def rows_in_numpy(key: Key, rows: Array, width: int, dtype: Any, step: int) -> Array:
    """The same without compiled code."""
    blocks = -(-width // 4)  # a block of the generator gives four numbers
    columns = np.arange(blocks, dtype=np.uint64)
    index = np.asarray(rows, np.uint64)[:, None] * np.uint64(blocks) + columns
    words = [_unit32(word) for word in _bits(key, index.ravel(), step)]
    numbers = np.stack(words, axis=-1).reshape(len(index), 4 * blocks)
    return numbers[:, :width].astype(dtype, copy=False)


def _bits(key: Key, index: Array, step: int) -> tuple[Array, ...]:
    """The 128 random bits of each index at a step."""
    low = np.full_like(index, step & 0xFFFFFFFF)
    high = np.full_like(index, step >> 32 & 0xFFFFFFFF)
    return philox4x32((index & _MASK, index >> _SHIFT, low, high), key)


def _unit32(word: Array) -> Array:
    """A float32 in [0, 1) from the upper 24 bits of a 32-bit word."""
    return (word >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)


def _unit(high: Array, low: Array) -> Array:
    """Combine two 32-bit words to a float64 in [0, 1) with 53 random bits."""
    word = (high << np.uint64(21)) ^ (low >> np.uint64(11))
    return word.astype(np.float64) * 2.0**-53
