"""Read a checkpoint directory (version 2 of the format): its manifest, then bytes by offset.

HDF5 has no part in it: a slice is found by the offset in the manifest, which lies under a checksum,
as does every slice. What a part says about itself (links, external storage, virtual datasets) is
never looked at.
"""

from __future__ import annotations

import os
import socket
import stat
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.checkpoint.format import (
    MANIFEST_NAME,
    MAX_MANIFEST,
    DamagedCheckpointError,
    raw_bytes,
    step_of,
)
from hpcad.checkpoint.manifest import ArraySpec, Manifest, SliceSpec
from hpcad.checkpoint.reading.opening import check_memory, open_file, read_at, read_range
from hpcad.errors import CheckpointError

_OPEN_PARTS = 32


class DirectoryReader:
    """An open checkpoint directory. Errors do not name it yet: see :func:`.opening.naming`.

    Parameters
    ----------
    path : Path
        It may be a symbolic link; nothing in it may.
    manifest : Manifest, optional
        What another rank has read of it already.
    """

    version = 2

    def __init__(self, path: Path, manifest: Manifest | None = None) -> None:
        self.path = path
        self._parts: OrderedDict[str, int] = OrderedDict()
        self._folder = _open_directory(path, manifest is not None)
        try:
            self.manifest = self._read_manifest() if manifest is None else manifest
        except BaseException:
            self.close()
            raise
        self._specs = {spec.name: spec for spec in self.manifest.arrays}
        self._bytes = {part.file: part.bytes for part in self.manifest.parts}

    def close(self) -> None:
        """Close the files and the directory."""
        while self._parts:
            os.close(self._parts.popitem()[1])
        os.close(self._folder)

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.manifest.step

    @property
    def written(self) -> str:
        """When, in UTC and ISO 8601."""
        return self.manifest.written

    @property
    def state(self) -> dict[str, Any]:
        """JSON values."""
        return self.manifest.state

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """Name, dtype and shape of all arrays."""
        return self.manifest.arrays

    @property
    def nbytes(self) -> int:
        """Bytes of all parts together."""
        return sum(part.bytes for part in self.manifest.parts)

    def origin(self) -> str:
        """Say in one line who wrote it."""
        count, hosts = len(self.manifest.parts), ", ".join(self.manifest.hosts)
        ranks = f"{self.manifest.world_size} rank{'s' * (self.manifest.world_size != 1)}"
        return (
            f"written {self.manifest.written} by {ranks} on {hosts}, hpcad {self.manifest.hpcad}; "
            f"{count} part{'s' * (count != 1)}"
        )

    def check_parts(self) -> None:
        """Check that all parts are regular files of the stated lengths, by their entries alone."""
        for name, nbytes in self._bytes.items():
            try:
                status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            except FileNotFoundError as error:
                raise DamagedCheckpointError(f"{name} is missing") from error
            if not stat.S_ISREG(status.st_mode):
                raise DamagedCheckpointError(f"{name} is a symbolic link, or no file")
            _check_size(name, status.st_size, nbytes)

    def read(self, name: str) -> np.ndarray:
        """Return one array, verified."""
        spec = self._specs[name]
        for piece in spec.slices:
            self._part(piece.part)  # exists at its length: its bytes can be allocated
        check_memory(spec.nbytes)
        array = np.empty(spec.shape, spec.dtype)
        self.read_into(spec, 0, raw_bytes(array))
        return array

    def read_into(self, spec: ArraySpec, start: int, out: memoryview) -> None:
        """Fill `out` with the elements of an array from `start` (flat) on.

        Slices that it touches are read and verified as a whole; the others are not.
        """
        size = spec.itemsize
        stop = start + len(out) // size
        for piece in spec.slices:
            first, last = max(start, piece.start), min(stop, piece.start + piece.count)
            if first < last:
                kept = out[(first - start) * size : (last - start) * size]
                self.read_slice(spec, piece, kept, (first - piece.start) * size)

    def read_slice(
        self, spec: ArraySpec, piece: SliceSpec, out: memoryview, begin: int = 0
    ) -> None:
        """Read and verify one slice; fill `out` with its bytes from `begin` on."""
        found = read_range(
            self._part(piece.part), piece.offset, piece.count * spec.itemsize, out, begin
        )
        if found != piece.checksum:
            raise DamagedCheckpointError(
                f"the checksum of array {spec.name!r} does not match in {piece.part}"
            )
        if spec.dtype == "|b1" and (np.frombuffer(out, np.uint8) > 1).any():
            raise DamagedCheckpointError(f"array {spec.name!r} holds what is no boolean")

    def verify(self) -> None:
        """Read everything and keep nothing."""
        self.check_parts()
        for spec in self.manifest.arrays:
            for piece in spec.slices:
                self.read_slice(spec, piece, memoryview(b""))

    def _read_manifest(self) -> Manifest:
        descriptor, size = open_file(MANIFEST_NAME, self._folder)
        try:
            if size > MAX_MANIFEST:
                raise DamagedCheckpointError(
                    f"its manifest has {size} bytes, and at most {MAX_MANIFEST} can be meant"
                )
            text = bytearray(size)
            read_at(descriptor, memoryview(text), 0)
        finally:
            os.close(descriptor)
        manifest = Manifest.decode(bytes(text))
        stated = step_of(self.path.name)
        if stated is not None and stated != manifest.step:
            raise DamagedCheckpointError(f"its name states step {stated}, it holds {manifest.step}")
        return manifest

    def _part(self, name: str) -> int:
        """Return the descriptor of a part of the stated length. A few are kept open."""
        if name in self._parts:
            self._parts.move_to_end(name)
            return self._parts[name]
        descriptor, size = open_file(name, self._folder)
        try:
            _check_size(name, size, self._bytes[name])
        except BaseException:
            os.close(descriptor)
            raise
        self._parts[name] = descriptor
        if len(self._parts) > _OPEN_PARTS:
            os.close(self._parts.popitem(last=False)[1])
        return descriptor


def _open_directory(path: Path, seen_by_others: bool) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if not seen_by_others:
            raise
        raise CheckpointError(
            f"is not there on {socket.gethostname()}, but on the node of rank 0 it is: put "
            "checkpoints on a file system that all nodes share"
        ) from error


def _check_size(name: str, size: int, expected: int) -> None:
    if size != expected:
        raise DamagedCheckpointError(
            f"{name} has {size} bytes instead of {expected}: it was truncated, or is another file"
        )
