"""Many pieces of open files into one array, in one call (``gather.c``)."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hpcad.backend.native.library import load

_LONGEST = 64 << 20  # bytes of one request, as in gather.c


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


@dataclass(frozen=True)
class Pieces:
    """Pieces of files, and where in memory they go.

    Attributes
    ----------
    files : ndarray of int32, shape (n,)
        Open descriptors.
    starts, sizes : ndarray of int64, shape (n,)
        First byte in the file, and bytes.
    places : ndarray of int64, shape (n,)
        First byte in the target.
    """

    files: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    places: np.ndarray


class _Struct(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("files", "starts", "sizes", "places", "target")),
        *((name, ctypes.c_long) for name in ("count", "requests", "error")),
    ]


def gather(pieces: Pieces, target: np.ndarray) -> int:
    """Read all pieces, without the interpreter's lock; pieces that lie together in one request.

    Parameters
    ----------
    pieces : Pieces
    target : ndarray of uint8, shape (n,)
        Contiguous and writable.

    Returns
    -------
    int
        Requests to the operating system.

    Raises
    ------
    GatherError
        A file cannot be read or is too short. What was read before is in the target.
    """
    routine = _routine()
    if routine is None:
        return reference(pieces, target)
    _check(pieces, target)
    call = _Struct(
        *(each.ctypes.data for each in (pieces.files, pieces.starts, pieces.sizes, pieces.places)),
        *(target.ctypes.data, len(pieces.files), 0, 0),
    )
    done = routine(ctypes.byref(call))
    if done < len(pieces.files):
        raise GatherError(done, call.error)
    return int(call.requests)


def reference(pieces: Pieces, target: np.ndarray) -> int:
    """The same, one ``os.preadv`` after the other."""
    _check(pieces, target)
    memory = target.data
    columns = (pieces.files, pieces.starts, pieces.sizes, pieces.places)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
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


def _check(pieces: Pieces, target: np.ndarray) -> None:
    """What C would write beyond the target must not reach it, whatever the callers do."""
    if not len(pieces.files):
        return
    ends = pieces.places + pieces.sizes
    if pieces.places.min() < 0 or pieces.sizes.min() < 0 or ends.max() > target.nbytes:
        raise ValueError(f"pieces reach beyond a target of {target.nbytes} bytes")


@functools.cache
def _routine() -> Any:
    library = load(Path(__file__).with_name("gather.c").read_text(), "gather")
    if library is None:
        return None
    routine = library.hp_gather
    routine.argtypes, routine.restype = (ctypes.c_void_p,), ctypes.c_long
    return routine
