"""Texts of variable length in HDF5 files lie in heaps, and a damaged heap can hang HDF5 itself.

A collection of the global heap is ``GCOL``, a byte for the version (1), 3 reserved, 8 for its size,
and then objects: 2 bytes for the index, 6 others, 8 for the size, and the data, rounded up to 8.
Index 0 is free space, whose size counts its own header. HDF5 2.0 goes through the objects without
an end where such a size is 0. So this is looked for first (HDF5 File Format Specification, III.E).
"""

from __future__ import annotations

import mmap
from pathlib import Path

from hpcad.errors import DataError

_MARK = b"GCOL\x01"
_HEADER = 16  # bytes, of a collection and of an object
_MOST_STEPS = 10**7  # objects in all collections; far more than the names of a few things need


def check_heaps(path: Path) -> None:
    """Refuse a file with a heap that HDF5 would not come to the end of.

    Reads the whole file once; time and memory are bounded.

    Raises
    ------
    DataError
        There is such a heap, or there are more objects in heaps than texts would need.
    OSError
        The file cannot be read.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start, steps = data.find(_MARK), 0
        while start >= 0:
            steps += _walk(path, data, start, _MOST_STEPS - steps)
            start = data.find(_MARK, start + 1)


def _walk(path: Path, data: mmap.mmap, start: int, most: int) -> int:
    """The number of objects in the collection at a place."""
    end = min(start + int.from_bytes(data[start + 8 : start + 16], "little"), len(data))
    place, steps = start + _HEADER, 0
    while place + _HEADER <= end:
        steps += 1
        size = int.from_bytes(data[place + 8 : place + 16], "little")
        is_free = data[place : place + 2] == b"\0\0"
        if is_free and not size:
            raise DataError(f"{path}: is damaged: free space of no size at byte {place} of a heap")
        if steps > most:
            raise DataError(f"{path}: has more than {_MOST_STEPS} objects in heaps for texts")
        place += size if is_free else _HEADER + (size + 7) // 8 * 8
    return steps
