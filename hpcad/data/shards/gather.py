"""Many pieces of open files into one array, in one call (``gather.c``)."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.backend.native.library import load

_LONGEST = 64 << 20  # bytes of one request, as in gather.c
_OUTSIDE = -1


class GatherError(Exception):
    """A piece could not be read.

    Attributes
    ----------
    piece : int
        Which one (the first of those that were asked for together).
    error : int
        The ``errno``, or 0 where the file ended too early.
    """

    def __init__(self, piece: int, error: int) -> None:
        super().__init__(piece, error)
        self.piece, self.error = piece, error

    @property
    def reason(self) -> str:
        """What went wrong, in words."""
        return os.strerror(self.error) if self.error else "the file ends too early"


def pieces(files: Any, starts: Any, sizes: Any, places: Any) -> np.ndarray:
    """The table of pieces that :func:`gather` takes.

    Parameters
    ----------
    files : int or array of int, shape (n,)
        Open descriptors.
    starts : array of int, shape (n,)
        First byte in the file.
    sizes : int or array of int, shape (n,)
        In bytes.
    places : array of int, shape (n,)
        First byte in the target.

    Returns
    -------
    ndarray of int64, shape (4, n)
    """
    table = np.empty((4, len(starts)), np.int64)
    table[0], table[1], table[2], table[3] = files, starts, sizes, places
    return table


def gather(table: np.ndarray, target: np.ndarray) -> int:
    """Read all pieces, without the interpreter's lock; pieces that lie together in one request.

    Parameters
    ----------
    table : ndarray of int64, shape (4, n)
        Of :func:`pieces`.
    target : ndarray
        C-contiguous and writable; it is filled as bytes.

    Returns
    -------
    int
        Requests to the operating system.

    Raises
    ------
    GatherError
        A file cannot be read or is too short. What was read before is in the target.
    ValueError
        A piece reaches beyond the target; nothing was read.
    """
    routine = _routine()
    if routine is None:
        return reference(table, target)
    report = (ctypes.c_long * 2)()
    count = table.shape[1]
    done = routine(table.ctypes.data, count, target.ctypes.data, target.nbytes, report)
    requests, error = report
    if done == _OUTSIDE:
        raise ValueError(f"pieces reach beyond a target of {target.nbytes} bytes")
    if done < count:
        raise GatherError(done, error)
    return requests


def reference(table: np.ndarray, target: np.ndarray) -> int:
    """The same, one ``os.preadv`` after the other."""
    if any(
        not 0 <= size <= target.nbytes - place or place < 0 for size, place in table[2:].T.tolist()
    ):
        raise ValueError(f"pieces reach beyond a target of {target.nbytes} bytes")
    memory = target.reshape(-1).view(np.uint8).data
    rows = table.T.tolist()
    requests = first = 0
    while first < len(rows):
        file, start, size, place = rows[first]
        following = first + 1
        while (
            following < len(rows)
            and size < _LONGEST
            and rows[following][0] == file
            and rows[following][1] == start + size
            and rows[following][3] == place + size
        ):
            size += rows[following][2]
            following += 1
        requests += _read(first, file, start, memory[place : place + size])
        first = following
    return requests


def _read(piece: int, file: int, start: int, target: memoryview) -> int:
    done = requests = 0
    while done < len(target):
        try:
            got = os.preadv(file, [target[done:]], start + done)
        except OSError as error:
            raise GatherError(piece, error.errno or 0) from error
        requests += 1
        if got == 0:
            raise GatherError(piece, 0)
        done += got
    return requests


@functools.cache
def _routine() -> Any:
    library = load(Path(__file__).with_name("gather.c").read_text(), "gather")
    if library is None:
        return None
    routine = library.hp_gather
    pointer, number = ctypes.c_void_p, ctypes.c_long
    routine.argtypes = (pointer, number, pointer, number, pointer)
    routine.restype = number
    return routine
