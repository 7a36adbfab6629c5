"""Where the chunks of an array lie in their file, as HDF5 knows it, and whether that can be.

The index of a hostile file may say anything: every chunk must be there once, lie whole inside the
file, and be no longer than its contents can make it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from hpcad.data.manifest.contents import ArrayEntry

_CODES = {
    "shuffle": h5py.h5z.FILTER_SHUFFLE,
    "deflate": h5py.h5z.FILTER_DEFLATE,
    "fletcher32": h5py.h5z.FILTER_FLETCHER32,
}
_INFLATES = 1032  # times, at most: what deflate can make of a byte


class ChunkError(Exception):
    """The chunks are not what the manifest says; the message says how."""


@dataclass(frozen=True)
class ChunkPlaces:
    """First byte, stored bytes and mask of filters left out, of each chunk; shape ``(n,)``."""

    offsets: np.ndarray
    sizes: np.ndarray
    masks: np.ndarray


def chunk_places(dataset: h5py.Dataset, entry: ArrayEntry, file_bytes: int) -> ChunkPlaces:
    """Ask HDF5 for the places of all chunks, and check them.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of plain numbers, with the shape and dtype of `entry`.
    entry : ArrayEntry
        A chunked one.
    file_bytes : int
        Size of the file.

    Raises
    ------
    ChunkError
        Chunks or filters differ from the manifest, a chunk is missing, stored twice, lies outside
        of the file, or is too short for what it must become.
    """
    creation = dataset.id.get_create_plist()
    if creation.get_layout() != h5py.h5d.CHUNKED:
        raise ChunkError("is not stored in chunks, though the manifest says so")
    expected = (entry.chunk, *entry.shape[1:])
    if creation.get_chunk() != expected:
        raise ChunkError(f"has chunks of {creation.get_chunk()}, the manifest says {expected}")
    if (found := _filters(creation, entry)) != entry.filters:
        raise ChunkError(f"has the filters {[*found]}, the manifest says {[*entry.filters]}")
    places = _ask(dataset, entry)
    _check_places(places, entry, file_bytes)
    return places


def _filters(creation: Any, entry: ArrayEntry) -> tuple[str, ...]:
    """The filters of a dataset, in words of the manifest."""
    names = {code: name for name, code in _CODES.items()}
    found = []
    for place in range(creation.get_nfilters()):
        code, _, values, _ = creation.get_filter(place)
        name = names.get(code, f"number {code}")
        if name == "deflate":
            name = f"deflate:{values[0] if values else 0}"
        if name == "shuffle" and tuple(values[:1]) != (entry.dtype.itemsize,):
            name = f"shuffle of {values[:1]} bytes"
        found.append(name)
    return tuple(found)


def _ask(dataset: h5py.Dataset, entry: ArrayEntry) -> ChunkPlaces:
    count = -(-entry.shape[0] // entry.chunk)
    offsets = np.full(count, -1, np.int64)
    sizes, masks = np.zeros(count, np.int64), np.zeros(count, np.int64)
    problems: list[str] = []

    def take(chunk: Any) -> bool | None:
        first, *others = chunk.chunk_offset
        index, rest = divmod(first, entry.chunk)
        if rest or any(others) or not 0 <= index < count or offsets[index] != -1:
            problems.append(f"has an impossible or repeated chunk at {tuple(chunk.chunk_offset)}")
            return True  # ends the walk, which a damaged index could make endless
        if chunk.byte_offset is None or not 0 <= chunk.byte_offset < 2**62:
            problems.append(f"has a chunk at byte {chunk.byte_offset}")
            return True
        offsets[index], sizes[index] = chunk.byte_offset, min(chunk.size, 2**62)
        masks[index] = chunk.filter_mask
        return None

    if hasattr(dataset.id, "chunk_iter"):
        dataset.id.chunk_iter(take)
    else:  # HDF5 before 1.12.3: the time for all grows with the square of their number
        for place in range(min(dataset.id.get_num_chunks(), count + 1)):
            if take(dataset.id.get_chunk_info(place)):
                break
    if problems:
        raise ChunkError(problems[0])
    return ChunkPlaces(offsets, sizes, masks)


def _check_places(places: ChunkPlaces, entry: ArrayEntry, file_bytes: int) -> None:
    size = entry.chunk * entry.row_bytes
    if (missing := np.flatnonzero(places.offsets < 0)).size:
        raise ChunkError(f"lacks chunk {missing[0]}, of which HDF5 would invent the numbers")
    outside = (places.sizes < 1) | (places.offsets + places.sizes > file_bytes)
    if (bad := np.flatnonzero(outside)).size:
        index = bad[0]
        raise ChunkError(
            f"has chunk {index} at byte {places.offsets[index]} with {places.sizes[index]} bytes, "
            f"outside of its file of {file_bytes}"
        )
    # A chunk may have been stored without deflate, or without shuffle, never without its checksum.
    optional = (1 << len(entry.filters) - 1) - 1
    if (bad := np.flatnonzero(places.masks & ~np.int64(optional))).size:
        raise ChunkError(f"has chunk {bad[0]} without a checksum")
    deflates = np.zeros(len(places.sizes), bool)
    for place, name in enumerate(entry.filters):
        if name.startswith("deflate"):
            deflates = (places.masks >> place & 1) == 0
    content = places.sizes - 4  # the checksum
    wrong = np.where(deflates, content * _INFLATES < size, content != size)
    if (bad := np.flatnonzero(wrong)).size:
        raise ChunkError(
            f"has chunk {bad[0]} of {places.sizes[bad[0]]} bytes, which cannot become the {size} "
            "bytes of a chunk"
        )
