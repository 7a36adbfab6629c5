"""Read a checkpoint file of version 1 strictly: it is hostile until its checksums say otherwise.

HDF5 can point outside its own file (external links, external storage, virtual datasets), run
filters, and declare terabytes in a few bytes. None of that occurs in what hpcad wrote, so all
of it is refused before anything is allocated or read: only names of the manifest, only hard
links, only contiguous unfiltered datasets of the stated type and shape, lying inside the file
and apart from each other. HDF5 itself only parses the structure; array bytes are read with
`os.preadv` from the offsets it gives.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcad.checkpoint.format import (
    CHECKSUM,
    FORMAT,
    MAX_MANIFEST,
    STORED_DTYPES,
    DamagedCheckpointError,
    check_json,
    checksum,
    raw_bytes,
    step_of,
)
from hpcad.checkpoint.reading.format_v1 import VERSION, ArraySpec, Manifest
from hpcad.checkpoint.reading.opening import check_memory, open_file, read_at, read_range
from hpcad.checkpoint.reading.strict_hdf5 import (
    check_extents,
    extent_of,
    open_members,
    read_attribute,
)
from hpcad.errors import CheckpointError


class FileReader:
    """An open checkpoint file. Errors do not name it yet: see :func:`.opening.naming`."""

    version = VERSION

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor, self.nbytes = open_file(path)
        try:
            self.manifest, self._extents = _parse(path, self._descriptor, self.nbytes)
            _check_file_name(path, self.manifest)
            self.state = _read_state(self._descriptor, self._extents["state"], self.manifest)
        except BaseException:
            self.close()
            raise
        self._specs = {spec.name: spec for spec in self.manifest.arrays}

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.manifest.step

    @property
    def written(self) -> str:
        """When, in UTC and ISO 8601."""
        return self.manifest.written

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """Name, dtype and shape of all arrays."""
        return self.manifest.arrays

    def origin(self) -> str:
        """Say in one line who wrote it."""
        return (
            f"written {self.manifest.written} on {self.manifest.host}, "
            f"hpcad {self.manifest.hpcad}; one file of version {VERSION}"
        )

    def read(self, name: str) -> np.ndarray:
        """Return one array, verified."""
        spec = self._specs[name]
        check_memory(spec.nbytes)
        array = np.empty(spec.shape, spec.dtype)
        self._read(spec, raw_bytes(array))
        return array

    def verify(self) -> None:
        """Read everything and keep nothing."""
        for spec in self.manifest.arrays:
            self._read(spec, memoryview(b""))

    def _read(self, spec: ArraySpec, out: memoryview) -> None:
        offset, count = self._extents[f"arrays/{spec.name}"]
        if read_range(self._descriptor, offset, count, out) != spec.checksum:
            raise DamagedCheckpointError(f"the checksum of array {spec.name!r} does not match")


def _parse(path: Path, descriptor: int, size: int) -> tuple[Manifest, dict[str, tuple[int, int]]]:
    """Let HDF5 parse the file; whatever it stumbles over is damage."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _contents(file, descriptor, size)
    except (CheckpointError, MemoryError, PermissionError):
        raise
    except Exception as error:  # libhdf5 reports damage as any class of exception
        raise DamagedCheckpointError(f"HDF5 cannot read it: {error}") from error


def _contents(
    file: h5py.File, descriptor: int, size: int
) -> tuple[Manifest, dict[str, tuple[int, int]]]:
    """Verify the structure; return the manifest and path -> (offset, bytes) of each dataset."""
    root = h5py.h5g.open(file.id, b"/")
    _check_format(root)
    members = open_members(root, "/", {"manifest", "state", "arrays"}, optional={"arrays"})
    text = _manifest_text(members["manifest"], descriptor, size)
    manifest = Manifest.decode(text)
    extents = {"manifest": extent_of(members["manifest"], "|u1", (len(text),))}
    extents["state"] = extent_of(members["state"], "|u1", (manifest.state_bytes,))
    if manifest.arrays:
        if "arrays" not in members:
            raise DamagedCheckpointError("its arrays are missing")
        extents |= _array_extents(members["arrays"], manifest)
    elif "arrays" in members:
        raise DamagedCheckpointError("it holds arrays that its manifest does not name")
    check_extents(extents, size)
    return manifest, extents


def _check_format(root: h5py.h5g.GroupID) -> None:
    if read_attribute(root, "format") != FORMAT:
        raise DamagedCheckpointError("it is an HDF5 file, but not a checkpoint of hpcad")
    version = read_attribute(root, "version")
    if version != VERSION:
        raise CheckpointError(
            f"has format version {version}, and this hpcad reads {VERSION}: update hpcad"
        )


def _manifest_text(dataset: h5py.h5d.DatasetID, descriptor: int, size: int) -> bytes:
    shape = dataset.shape
    if len(shape) != 1 or not 0 < shape[0] <= min(size, MAX_MANIFEST):
        raise DamagedCheckpointError(f"its manifest has the impossible shape {shape}")
    offset, nbytes = extent_of(dataset, "|u1", shape)
    check_extents({"manifest": (offset, nbytes)}, size)
    text = bytearray(nbytes)
    read_at(descriptor, memoryview(text), offset)
    if checksum(bytes(text)) != read_attribute(dataset, CHECKSUM):
        raise DamagedCheckpointError("the checksum of its manifest does not match")
    return bytes(text)


def _read_state(descriptor: int, extent: tuple[int, int], manifest: Manifest) -> dict[str, Any]:
    if extent[1] > MAX_MANIFEST:
        raise DamagedCheckpointError(f"its state has {extent[1]} bytes")
    data = bytearray(extent[1])
    read_at(descriptor, memoryview(data), extent[0])
    text = bytes(data)
    if checksum(text) != manifest.state_checksum:
        raise DamagedCheckpointError("the checksum of its state does not match")
    try:
        check_json(text)
        state = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpointError(f"its state cannot be used ({error})") from error
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
        members = open_members(parent, path, set(node))
        for name, child in node.items():
            if isinstance(child, dict):
                pending.append((members[name], f"{path}/{name}", child))
            else:
                stored = STORED_DTYPES[child.dtype]
                extents[f"{path}/{name}"] = extent_of(members[name], stored, child.shape)
    return extents


def _check_file_name(path: Path, manifest: Manifest) -> None:
    stated = step_of(path.name)
    if stated is not None and stated != manifest.step:
        raise DamagedCheckpointError(f"its name states step {stated}, it holds {manifest.step}")
