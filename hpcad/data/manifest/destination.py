"""The place a dataset is written to: whether it may be, how it is replaced, what a full disk is."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from hpcad.data.manifest.contents import FILE_NAME
from hpcad.data.manifest.reader import read_manifest
from hpcad.errors import DataError


def check_destination(path: Path, force: bool) -> None:
    """Refuse a destination that would lose something; :class:`DataError` says what to do."""
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir() or path.is_symlink():
        raise DataError(f"{path}: exists and is not a directory; choose another place")
    present = {entry.name for entry in path.iterdir()}
    if not present:
        return
    if FILE_NAME not in present:
        raise DataError(
            f"{path}: is a directory with files that are no dataset of hpcad; choose another place"
        )
    if not force:
        raise DataError(
            f"{path}: a dataset is already there; choose another place, or replace it with --force"
        )
    foreign = present - {FILE_NAME} - {shard.file for shard in read_manifest(path).shards}
    if foreign:
        raise DataError(
            f"{path}: holds {min(foreign)!r} beside its dataset, which --force would delete; move "
            "it away or choose another place"
        )


def replace_directory(new: Path, place: Path) -> None:
    """Rename directory ``new`` to ``place``; what stood there is removed afterwards."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(new, 0o777 & ~mask)  # mkdtemp makes directories that only their owner can read
    if not (place.is_dir() and any(place.iterdir())):
        os.rename(new, place)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{place.name}.replaced-", dir=place.parent))
    os.rename(place, old)
    try:
        os.rename(new, place)
    except OSError:
        os.rename(old, place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(path: Path, error: OSError) -> DataError:
    """The sentence for an OSError met while writing a dataset at ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"{path}: the disk is full; nothing was left behind. Free some space or choose a "
            "place on another disk"
        )
    reason = error.strerror or str(error)
    return DataError(f"{path}: cannot be written ({reason}); check the place and its rights")
