"""Pieces of HDF5 that a hostile file cannot turn against its reader.

Only hard links are followed, only plain blocks of bytes are datasets, only short fixed-length texts
and single integers are attributes. Whatever else HDF5 can express is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from hpcad.checkpoint.format import DamagedCheckpointError

_MAX_ATTRIBUTE = 64


def open_members(
    group: Any, path: str, names: set[str], optional: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """Open exactly the members `names` of a group, each through a hard link."""
    if not isinstance(group, h5py.h5g.GroupID):
        raise DamagedCheckpointError(f"{path!r} is not a group")
    present = {name for name in names if group.links.exists(name.encode())}
    if missing := sorted(names - present - optional):
        raise DamagedCheckpointError(f"{path!r} lacks {missing[0]!r}")
    if group.get_num_objs() != len(present):
        raise DamagedCheckpointError(f"{path!r} holds more than its manifest names")
    for name in present:
        if group.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise DamagedCheckpointError(f"{name!r} in {path!r} is a soft or external link")
    return {name: h5py.h5o.open(group, name.encode()) for name in present}


def extent_of(dataset: Any, dtype: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Check that `dataset` is a plain block of `shape`; return its offset and length in bytes."""
    if not isinstance(dataset, h5py.h5d.DatasetID):
        raise DamagedCheckpointError("a group stands where an array should be")
    layout = dataset.get_create_plist()
    plain = (
        layout.get_layout() == h5py.h5d.CONTIGUOUS
        and layout.get_external_count() == 0
        and layout.get_nfilters() == 0
    )
    name = h5py.h5i.get_name(dataset).decode(errors="replace")
    if not plain:
        raise DamagedCheckpointError(f"{name!r} is external, virtual, chunked or filtered")
    if not dataset.get_type().equal(h5py.h5t.py_create(np.dtype(dtype))):
        raise DamagedCheckpointError(f"{name!r} is not of type {dtype}")
    space = dataset.get_space()
    kind = space.get_simple_extent_type()
    if kind == h5py.h5s.NULL or space.get_simple_extent_dims() != shape:
        raise DamagedCheckpointError(f"{name!r} is not of shape {shape}")
    count = int(np.dtype(dtype).itemsize)
    for extent in shape:
        count *= extent
    offset = dataset.get_offset()
    if offset is None:
        if count:
            raise DamagedCheckpointError(f"{name!r} has no bytes in the file")
        return 0, 0
    return offset, count


def check_extents(extents: Mapping[str, tuple[int, int]], size: int) -> None:
    """Check that all blocks lie inside the file and apart from each other."""
    end, last = 0, ""
    for (offset, count), name in sorted((extent, name) for name, extent in extents.items()):
        if not count:
            continue
        if offset < end:
            raise DamagedCheckpointError(f"{name!r} and {last!r} overlap")
        end, last = offset + count, name
        if end > size:
            raise DamagedCheckpointError(
                f"{name!r} ends at byte {end} and the file at byte {size}: it was truncated"
            )


def read_attribute(holder: Any, name: str) -> str | int | None:
    """Return an attribute of fixed-length text or one integer; None where there is none."""
    key = name.encode()
    if not h5py.h5a.exists(holder, key):
        return None
    attribute = h5py.h5a.open(holder, key)
    kind = attribute.get_type()
    scalar = attribute.get_space().get_simple_extent_type() == h5py.h5s.SCALAR
    if not scalar or kind.get_size() > _MAX_ATTRIBUTE:
        raise DamagedCheckpointError(f"attribute {name!r} is not a short text or number")
    if isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str():
        text = np.empty((), f"S{kind.get_size()}")
        attribute.read(text)
        return bytes(text[()]).decode()
    if isinstance(kind, h5py.h5t.TypeIntegerID):
        number = np.empty((), np.int64)
        attribute.read(number)
        return int(number)
    raise DamagedCheckpointError(f"attribute {name!r} is not a short text or number")
