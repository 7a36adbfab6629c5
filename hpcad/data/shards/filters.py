"""Undoing HDF5's filters outside of HDF5: fletcher32, deflate and shuffle.

libhdf5 decodes one chunk at a time, under a lock that is shared by the whole process. Here the
chunk's bytes are given, and zlib and the routines of ``filters.c`` work without the interpreter's
lock. Nothing is inflated beyond the bytes that the chunk must have.
"""

from __future__ import annotations

import ctypes
import functools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.backend.native.library import load

_WORDS = 4096  # of one piece of the NumPy checksum; its sums are exact in float64


class FilterError(Exception):
    """The bytes of a chunk are not what its filters make; the message says how."""


def decode(
    stored: bytes, filters: Sequence[str], mask: int, size: int, itemsize: int
) -> np.ndarray:
    """Undo the filters of one chunk.

    Parameters
    ----------
    stored : bytes
        As they lie in the file.
    filters : sequence of str
        In the order in which they were applied: ``"shuffle"``, ``"deflate:N"``, ``"fletcher32"``.
    mask : int
        Bit i: filter i was left out for this chunk (HDF5 does so where deflate gains nothing).
    size : int
        Bytes that must come out.
    itemsize : int
        Bytes of a number.

    Returns
    -------
    ndarray of uint8, shape (size,)
        Perhaps read-only.

    Raises
    ------
    FilterError
        The checksum does not match, the stream is damaged, or another number of bytes comes out.
    """
    data = memoryview(stored)
    for place in reversed(range(len(filters))):
        if mask >> place & 1:
            continue
        name = filters[place]
        if name == "fletcher32":
            data = _checked(data)
        elif name == "shuffle":
            _check_size(data, size)
            data = unshuffle(np.frombuffer(data, np.uint8), itemsize).data
        else:
            data = memoryview(_inflated(data, size))
    _check_size(data, size)
    return np.frombuffer(data, np.uint8)


def fletcher32(data: np.ndarray) -> int:
    """HDF5's Fletcher checksum of bytes, as in ``H5_checksum_fletcher32``.

    With big-endian 16-bit words w_1 ... w_n (a last odd byte is the high byte of a word):
    ``a = sum(w_i)`` and ``b = sum((n - i + 1) w_i)``, both modulo 65535, where a sum that is a
    multiple of 65535 and not 0 is written 65535. The result is ``b << 16 | a``.

    Parameters
    ----------
    data : ndarray of uint8, shape (n,)
        Contiguous.
    """
    routine = _routine("hp_fletcher32")
    if routine is None:
        return fletcher32_reference(data)
    found = routine(data.ctypes.data, data.size)
    return _hdf5_form(found & 0xFFFF, found >> 16, data)


def fletcher32_reference(data: np.ndarray) -> int:
    """The same in NumPy."""
    even = data if data.size % 2 == 0 else np.append(data, np.uint8(0))
    words = even.view("<u2").astype(np.float64)
    a = b = 0
    for start in range(0, len(words), _WORDS):
        piece = words[start : start + _WORDS]
        weights = np.arange(len(piece), 0, -1, dtype=np.float64)
        b = (b + len(piece) * a + int(weights @ piece)) % 65535
        a = (a + int(piece.sum())) % 65535
    return _hdf5_form(a, b, data)


def unshuffle(data: np.ndarray, itemsize: int) -> np.ndarray:
    """Undo HDF5's shuffle: first bytes of all numbers, second bytes, ... become numbers again.

    Parameters
    ----------
    data : ndarray of uint8, shape (n * itemsize,)
    itemsize : int

    Returns
    -------
    ndarray of uint8, shape (n * itemsize,)
    """
    routine = _routine("hp_unshuffle")
    if routine is None or itemsize == 1:
        return np.ascontiguousarray(data.reshape(itemsize, -1).T).reshape(-1)
    result = np.empty_like(data)
    routine(data.ctypes.data, result.ctypes.data, data.size // itemsize, itemsize)
    return result


def _hdf5_form(a: int, b: int, data: np.ndarray) -> int:
    # Of little-endian words, modulo 65535: swapping the bytes of a word multiplies it by 256.
    a, b = a * 256 % 65535, b * 256 % 65535
    if not a or not b:  # a multiple of 65535: HDF5 writes 0 only if there is nothing but zeros
        nothing = not data.any()
        a, b = a or (0 if nothing else 65535), b or (0 if nothing else 65535)
    return b << 16 | a


def _checked(data: memoryview) -> memoryview:
    if len(data) < 4:
        raise FilterError(f"{len(data)} bytes hold no fletcher32 checksum")
    told = int.from_bytes(data[-4:], "little")
    if (found := fletcher32(np.frombuffer(data[:-4], np.uint8))) != told:
        raise FilterError(f"its fletcher32 is {found:08x}, stored is {told:08x}")
    return data[:-4]


def _inflated(data: memoryview, size: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, size + 1)  # one more, so that too many are noticed
    except zlib.error as error:
        raise FilterError(f"it cannot be inflated ({error})") from error
    if len(found) > size:
        raise FilterError(f"it inflates to more than its {size} bytes")
    if not stream.eof or stream.unused_data:
        raise FilterError("its compressed stream ends too early or too late")
    return found


def _check_size(data: memoryview | bytes, size: int) -> None:
    if len(data) != size:
        raise FilterError(f"it has {len(data)} bytes, expected {size}")


@functools.cache
def _routine(name: str) -> Any:
    library = load(Path(__file__).with_name("filters.c").read_text(), "filters")
    if library is None:
        return None
    fletcher, shuffle = library.hp_fletcher32, library.hp_unshuffle
    fletcher.argtypes, fletcher.restype = (ctypes.c_void_p, ctypes.c_uint64), ctypes.c_uint32
    shuffle.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)
    shuffle.restype = None
    return {"hp_fletcher32": fletcher, "hp_unshuffle": shuffle}[name]
