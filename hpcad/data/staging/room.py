"""Where a stage may lie: places on a node that are its own, and their room."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from hpcad.data.memory import available_memory
from hpcad.data.staging.record import read_record
from hpcad.errors import DataError

#: Where "auto" looks, in this order. Batch systems make the first ones for each job.
PLACES = ("$SLURM_TMPDIR", "$TMPDIR", "$LOCAL_SCRATCH", "/mnt/bb/$USER", "/dev/shm")
# Types of file systems that all nodes share: nothing is gained by a copy there.
_SHARED = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb", "panfs", "wekafs", "pvfs2")
_MOUNTS = Path("/proc/mounts")
_SPARE = 16 * 2**20  # for directories, records and the ends of blocks
_BLOCK = 4096
AUTO = "auto"


class NoRoomError(DataError):
    """Some node has no place, or too little room, for its copy. Raised on every rank."""


def expanded_place(to: str | os.PathLike[str]) -> Path:
    """A directory with variables and ``~`` filled in; DataError if a variable is not set."""
    text = os.path.expanduser(os.path.expandvars(os.fspath(to)))
    if "$" in text or not text:
        raise DataError(
            f"stage {os.fspath(to)!r} names a variable that is not set on this node; give a "
            "directory, or 'auto'"
        )
    return Path(os.path.abspath(text))


def local_places() -> Iterator[Path]:
    """The places of :data:`PLACES` that exist here, can be written, and belong to this node."""
    for place in PLACES:
        with contextlib.suppress(DataError):
            path = expanded_place(place)
            usable = path.is_dir() and os.access(path, os.W_OK | os.X_OK)
            if usable and not file_system(path).startswith(_SHARED):
                yield path


def file_system(path: Path) -> str:
    """The type of the file system that holds a directory; empty where that cannot be found out."""
    best, kind = "", ""
    try:
        lines = _MOUNTS.read_text().splitlines()
        place = os.path.realpath(path)
    except OSError:
        return ""
    for line in lines:
        _, mount, this, *_ = line.split()
        inside = place == mount or place.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, this
    return kind


def free_bytes(path: Path) -> int:
    """Bytes that this user can still write there; in memory, at most what memory has left."""
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    return min(free, available_memory()) if file_system(path) in ("tmpfs", "ramfs") else free


def chosen_place(to: str | os.PathLike[str], name: str, needed: int) -> Path | None:
    """The directory meant by `to` on this node; for "auto" None where no place has room.

    A place that has a copy already is taken without asking for room.
    """
    if os.fspath(to) != AUTO:
        return expanded_place(to)
    places = list(local_places())
    has_copy = (place for place in places if read_record(place / name) is not None)
    has_room = (place for place in places if free_bytes(place) >= needed)
    return next(has_copy, None) or next(has_room, None)


def no_place(node: int, nbytes: int) -> NoReturn:
    """Raise because "auto" found nothing on a node."""
    raise NoRoomError(
        f"node {node} has no place of its own with room for {nbytes / 1e9:.2f} GB among "
        f"{', '.join(PLACES)}; name a directory, or do not stage"
    )


def check_room(needed: Sequence[int], free: Sequence[int], places: Sequence[str]) -> None:
    """Raise unless every node has the room that it needs; all lists are by node.

    Raises
    ------
    NoRoomError
        It names the nodes, with bytes needed and free.
    """
    lacking = [
        f"node {node} needs {need / 1e9:.2f} GB and has {room / 1e9:.2f} GB free in "
        f"{os.path.dirname(place)}"
        for node, (need, room, place) in enumerate(zip(needed, free, places, strict=True))
        if need > room
    ]
    if lacking:
        raise NoRoomError(
            f"there is too little room to stage: {'; '.join(lacking)}; choose another place, "
            "share the set over the nodes (share='part'), or do not stage"
        )


def room_for(sizes: np.ndarray) -> int:
    """Bytes that files of such sizes (int64) take, with something to spare; 0 for no files."""
    return int((-(-sizes // _BLOCK) * _BLOCK).sum()) + _SPARE if len(sizes) else 0
