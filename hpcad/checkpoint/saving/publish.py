"""What makes a checkpoint of parts that are on the disk: its manifest, put there by a rename.

Only a rename needs to be atomic. Whatever is lost in a power failure, the manifest is seen only
with all that it names: parts, their names, and the directory were on the disk before it.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

from hpcad.checkpoint.disk import Disk, write_file
from hpcad.checkpoint.format import LATEST_NAME, MANIFEST_NAME, directory_name
from hpcad.checkpoint.manifest import Manifest
from hpcad.errors import CheckpointError

# Of a directory of somebody else, or on a file system that cannot be written.
_NO_FLUSHING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL)

_PATIENCE = 5.0  # seconds that a name may take from one node of a network file system to another


def host_name() -> str:
    """Return the name of this host, without its domain."""
    return socket.gethostname().split(".")[0]


def owner_name(nonce: str) -> str:
    """Return the name of the file that says which process made a directory."""
    return f".{nonce}.owner"


def make_directories(disk: Disk, root: Path) -> None:
    """Make the directory of all checkpoints, with its parents, and put their names on the disk."""
    missing = []
    place = root
    while not place.is_dir() and place != place.parent:
        missing.append(place)
        place = place.parent
    for path in reversed(missing):
        disk.make_directory(path)
        disk.fsync_directory(path.parent)


def flush_names(disk: Disk, root: Path) -> None:
    """Put the names of `root` and of the directories above it on the disk.

    Whoever made them, a run that was killed or the user, may not have done so, and what lies in a
    directory is lost with its name. Directories that may not be read are passed over.
    """
    device = root.stat().st_dev
    for place in root.resolve().parents:
        if place.stat().st_dev != device:
            return  # the root of another file system has its name for good
        try:
            disk.fsync_directory(place)
        except OSError as error:
            if error.errno not in _NO_FLUSHING:
                raise


def make_step_directory(disk: Disk, directory: Path, nonce: str, *, owner: bool) -> None:
    """Make the directory of one checkpoint. All ranks do so, since none waits for another.

    Parameters
    ----------
    owner : bool
        This process sees to it that the name is on the disk, and answers for the directory.
    """
    disk.make_directory(directory)
    if owner:
        disk.fsync_directory(directory.parent)
        # Not flushed: it matters only while this process may live.
        descriptor = disk.create(directory / owner_name(nonce))
        try:
            disk.pwrite(descriptor, memoryview(f"{host_name()} {os.getpid()}\n".encode()), 0)
        finally:
            disk.close(descriptor)


def publish(disk: Disk, root: Path, manifest: Manifest) -> None:
    """Make the parts of `manifest` a checkpoint.

    Raises
    ------
    CheckpointError
        This process does not see all parts.
    OSError
        The manifest is at its place all the same if it could only not be flushed.
    """
    directory = root / directory_name(manifest.step)
    for part in manifest.parts:
        _require_part(directory / part.file, part.bytes)
    disk.fsync_directory(directory)
    _replace(disk, directory / MANIFEST_NAME, manifest.encode(), manifest.nonce)
    disk.fsync_directory(directory)


def point_to(disk: Disk, root: Path, manifest: Manifest) -> None:
    """Name the newest checkpoint in the file ``latest``."""
    text = f"{directory_name(manifest.step)}\n".encode()
    _replace(disk, root / LATEST_NAME, text, manifest.nonce)
    disk.fsync_directory(root)


def _replace(disk: Disk, path: Path, data: bytes, nonce: str) -> None:
    """Put a small file at `path`, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{nonce}")
    try:
        write_file(disk, temporary, data)
        disk.rename(temporary, path)
    except OSError:
        if temporary.exists():
            disk.unlink(temporary)
        raise


def _require_part(path: Path, size: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            found = path.stat().st_size
        except FileNotFoundError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            raise CheckpointError(
                f"{host_name()} does not see {path}, which another rank has written; "
                "[output] directory must be on a file system that all nodes share"
            ) from None
        if found != size:
            raise CheckpointError(f"{path} has {found} bytes, and {size} were written")
        return
