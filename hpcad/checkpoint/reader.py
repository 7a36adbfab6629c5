"""Read one checkpoint strictly: a file is hostile until its checksums say otherwise.

HDF5 can point outside its own file (external links, external storage, virtual datasets), run
filters, and declare terabytes in a few bytes. None of that occurs in what `writer` writes, so all
of it is refused before anything is allocated or read: only names of the manifest, only hard
links, only contiguous unfiltered datasets of the stated type and shape, lying inside the file
and apart from each other. HDF5 itself only parses the structure; array bytes are read with
`os.preadv` from the offsets it gives.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcad.checkpoint.format import (
    CHECKSUM,
    FORMAT,
    STORED_DTYPES,
    DamagedCheckpointError,
    checksum,
    raw_bytes,
    step_of,
)
from hpcad.checkpoint.format_v1 import VERSION, Manifest
from hpcad.errors import CheckpointError

_CHUNK = 1 << 28
_MAX_MANIFEST = 1 << 28
_MAX_ATTRIBUTE = 64


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: where it lies, its step, its arrays by name, its state."""

    path: Path
    step: int
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a whole checkpoint.

    Raises
    ------
    DamagedCheckpointError
        The file is truncated, altered, or not a checkpoint.
    CheckpointError
        It does not exist, may not be read, or was written by a newer hpcad.
    """
    with _opened(path) as (descriptor, file, size):
        manifest, extents = _contents(file, descriptor, size)
        _check_file_name(path, manifest)
        state = _read_state(descriptor, extents["state"], manifest)
        arrays = {}
        for spec in manifest.arrays:
            array = np.empty(spec.shape, spec.dtype)
            data = raw_bytes(array)
            _read_at(descriptor, data, extents[f"arrays/{spec.name}"][0])
            if checksum(data) != spec.checksum:
                raise DamagedCheckpointError(f"the checksum of array {spec.name!r} does not match")
            arrays[spec.name] = array
        return Checkpoint(path, manifest.step, arrays, state)


def read_manifest(path: Path) -> tuple[Manifest, dict[str, Any]]:
    """Read manifest and state and check the structure, but not the bytes of the arrays."""
    with _opened(path) as (descriptor, file, size):
        manifest, extents = _contents(file, descriptor, size)
        _check_file_name(path, manifest)
        return manifest, _read_state(descriptor, extents["state"], manifest)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, h5py.File, int]]:
    """Open `path` for reading and name it in every error that leaves the block."""
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedCheckpointError("it is not a regular file")
        with h5py.File(path, "r", locking=False) as file:
            yield descriptor, file, status.st_size
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            f"checkpoint {path} is damaged: {error}; use an older one or a copy"
        ) from error
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path} {error}") from error
    except MemoryError as error:
        raise CheckpointError(f"checkpoint {path} does not fit into memory") from error
    except Exception as error:  # libhdf5 reports damage as any class of exception
        raise DamagedCheckpointError(
            f"checkpoint {path} is damaged: {_one_line(error)}; use an older one or a copy"
        ) from error
    finally:
        os.close(descriptor)


def _contents(
    file: h5py.File, descriptor: int, size: int
) -> tuple[Manifest, dict[str, tuple[int, int]]]:
    """Verify the structure; return the manifest and path -> (offset, bytes) of each dataset."""
    root = h5py.h5g.open(file.id, b"/")
    _check_format(root)
    members = _members(root, "/", {"manifest", "state", "arrays"}, optional={"arrays"})
    text = _manifest_text(members["manifest"], descriptor, size)
    manifest = Manifest.decode(text)
    extents = {"manifest": _extent(members["manifest"], "|u1", (len(text),))}
    extents["state"] = _extent(members["state"], "|u1", (manifest.state_bytes,))
    if manifest.arrays:
        if "arrays" not in members:
            raise DamagedCheckpointError("its arrays are missing")
        extents |= _array_extents(members["arrays"], manifest)
    elif "arrays" in members:
        raise DamagedCheckpointError("it holds arrays that its manifest does not name")
    _check_extents(extents, size)
    return manifest, extents


def _check_format(root: h5py.h5g.GroupID) -> None:
    if _attribute(root, "format") != FORMAT:
        raise DamagedCheckpointError("it is an HDF5 file, but not a checkpoint of hpcad")
    version = _attribute(root, "version")
    if version != VERSION:
        raise CheckpointError(
            f"has format version {version}, and this hpcad reads {VERSION}: update hpcad"
        )


def _manifest_text(dataset: h5py.h5d.DatasetID, descriptor: int, size: int) -> bytes:
    shape = dataset.shape
    if len(shape) != 1 or not 0 < shape[0] <= min(size, _MAX_MANIFEST):
        raise DamagedCheckpointError(f"its manifest has the impossible shape {shape}")
    offset, nbytes = _extent(dataset, "|u1", shape)
    _check_extents({"manifest": (offset, nbytes)}, size)
    text = bytearray(nbytes)
    _read_at(descriptor, memoryview(text), offset)
    if checksum(bytes(text)) != _attribute(dataset, CHECKSUM):
        raise DamagedCheckpointError("the checksum of its manifest does not match")
    return bytes(text)


def _read_state(descriptor: int, extent: tuple[int, int], manifest: Manifest) -> dict[str, Any]:
    text = bytearray(extent[1])
    _read_at(descriptor, memoryview(text), extent[0])
    if checksum(bytes(text)) != manifest.state_checksum:
        raise DamagedCheckpointError("the checksum of its state does not match")
    state = json.loads(bytes(text))
    if not isinstance(state, dict):
        raise DamagedCheckpointError("its state is not a JSON object")
    return state


def _array_extents(group: h5py.h5g.GroupID, manifest: Manifest) -> dict[str, tuple[int, int]]:
    """Walk the groups along the names of the manifest, never along those of the file."""
    tree: dict[str, Any] = {}
    for spec in manifest.arrays:
        *parents, last = spec.name.split("/")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = spec
    extents = {}
    pending: list[tuple[h5py.h5g.GroupID, str, dict[str, Any]]] = [(group, "arrays", tree)]
    while pending:
        parent, path, node = pending.pop()
        members = _members(parent, path, set(node))
        for name, child in node.items():
            if isinstance(child, dict):
                pending.append((members[name], f"{path}/{name}", child))
            else:
                stored = STORED_DTYPES[child.dtype]
                extents[f"{path}/{name}"] = _extent(members[name], stored, child.shape)
    return extents


def _members(
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


def _extent(dataset: Any, dtype: str, shape: tuple[int, ...]) -> tuple[int, int]:
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


def _check_extents(extents: Mapping[str, tuple[int, int]], size: int) -> None:
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


def _attribute(holder: Any, name: str) -> str | int | None:
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


def _check_file_name(path: Path, manifest: Manifest) -> None:
    stated = step_of(path.name)
    if stated is not None and stated != manifest.step:
        raise DamagedCheckpointError(f"its name states step {stated}, it holds {manifest.step}")


def _read_at(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.preadv(descriptor, [data[:_CHUNK]], offset)
        if count == 0:
            raise DamagedCheckpointError(f"the file ends at byte {offset}: it was truncated")
        data, offset = data[count:], offset + count


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
