"""What HDF5 says of a shard, compared with the manifest.

A shard may be hostile. Accepted are hard links to plain numeric arrays that lie whole in this
file, with exactly the names, dtypes, shapes and places of the manifest; refused are soft and
external links, external storage, virtual datasets, variable-length, object and compound types, and
all filters but those that the manifest names.
"""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from typing import NoReturn

import h5py
import numpy as np

from hpcad.data.manifest.contents import BLOCKS, ArrayEntry, ShardEntry
from hpcad.data.manifest.values import shortened
from hpcad.data.shards.chunk_index import ChunkError, ChunkPlaces, chunk_places
from hpcad.errors import DataError

# What h5py raises on a file that is not, or no longer, HDF5.
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


def check_header(path: Path, number: int, entry: ShardEntry) -> dict[str, ChunkPlaces]:
    """Check what HDF5 says of the shard against the manifest; the places of chunks by name."""
    places = {}
    try:
        # Through a Python file HDF5 takes no lock (they hang on some file systems), and does not
        # mind if the user's own program has the same shard open in another way.
        with FileIO(number, closefd=False) as opened, h5py.File(opened, "r") as file:
            _check_names(path, file, entry)
            for name, array in entry.arrays.items():
                found = _check_dataset(path, name, file[name], array, entry.nbytes)
                if found is not None:
                    places[name] = found
                if array.blocks is not None:
                    table = ArrayEntry(
                        (-(-array.shape[0] // array.blocks.rows),),
                        np.dtype("<u8"),
                        array.blocks.offset,
                    )
                    place = f"{BLOCKS}/{name}"
                    _check_dataset(path, place, file[place], table, entry.nbytes)
    except _H5PY_ERRORS as error:
        raise DataError(
            f"{path}: HDF5 cannot read this shard ({shortened(_first_line(error))}); copy it again "
            "from its source, or pack the data again"
        ) from error
    return places


def _check_names(path: Path, file: h5py.File, entry: ShardEntry) -> None:
    with_blocks = [name for name, array in entry.arrays.items() if array.blocks is not None]
    _check_members(path, file, [*entry.arrays, *([BLOCKS] if with_blocks else [])])
    if with_blocks:
        if not isinstance(file[BLOCKS], h5py.Group):
            refuse(path, f"{BLOCKS!r} is not a group")
        _check_members(path, file[BLOCKS], with_blocks)


def _check_members(path: Path, group: h5py.Group, expected: list[str]) -> None:
    names = set(group.keys())
    if names != set(expected):
        refuse(path, f"holds {sorted(names)}, the manifest says {sorted(expected)}")
    for name in names:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            refuse(path, f"{name!r} is a link to another place; a shard holds its own arrays")


def _check_dataset(
    path: Path, name: str, dataset: h5py.Dataset, entry: ArrayEntry, file_bytes: int
) -> ChunkPlaces | None:
    if not isinstance(dataset, h5py.Dataset):
        refuse(path, f"{name!r} is not an array")
    creation = dataset.id.get_create_plist()
    if dataset.is_virtual or creation.get_layout() == h5py.h5d.VIRTUAL:
        refuse(path, f"{name!r} is a virtual dataset, which reads other files")
    if creation.get_external_count():
        refuse(path, f"{name!r} uses external storage, which reads other files")
    if dataset.id.get_type().get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
        refuse(path, f"{name!r} does not hold plain numbers (it is {dataset.dtype})")
    if not entry.chunk and (
        creation.get_layout() != h5py.h5d.CONTIGUOUS or creation.get_nfilters()
    ):
        refuse(path, f"{name!r} is not stored in one piece (it is chunked, compact or filtered)")
    if (dataset.shape, dataset.dtype) != (entry.shape, entry.dtype):
        refuse(
            path,
            f"field {name!r} is {dataset.dtype} {dataset.shape}, the manifest says {entry.dtype} "
            f"{entry.shape}",
        )
    if entry.chunk:
        try:
            return chunk_places(dataset, entry, file_bytes)
        except ChunkError as error:
            refuse(path, f"field {name!r} {error}")
    place = (dataset.id.get_offset() or 0, dataset.id.get_storage_size())
    if place != (entry.offset, entry.nbytes):
        refuse(
            path,
            f"field {name!r} lies at byte {place[0]} with {place[1]} bytes, the manifest says "
            f"byte {entry.offset} with {entry.nbytes} bytes",
        )
    return None


def refuse(path: Path, what: str) -> NoReturn:
    raise DataError(
        f"{path}: {shortened(what)}. This shard does not belong to its manifest: copy both again "
        "from their source, or pack the data again"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
