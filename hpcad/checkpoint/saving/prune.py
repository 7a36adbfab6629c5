"""Remove checkpoints that are too many, and what saves that never ended have left.

A checkpoint stops being one first, by the removal of its manifest, and is taken apart then. So it
is whole or gone whenever that is interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path

from hpcad.checkpoint.disk import Disk
from hpcad.checkpoint.find import find_checkpoints, has_manifest
from hpcad.checkpoint.format import LATEST_NAME, MANIFEST_NAME, nonce_of, step_of
from hpcad.checkpoint.saving.publish import host_name, owner_name
from hpcad.errors import CheckpointError

log = logging.getLogger(__name__)

_STALE_SECONDS = 3600.0


def tidy(disk: Disk, root: Path, saved: Path, nonce: str, keep: int) -> None:
    """Remove what is not needed any more; `saved` is on the disk by now.

    What cannot be removed stays, with a warning: nothing was lost by it.

    Parameters
    ----------
    saved : Path
        The newest checkpoint, and the nonce of its parts.
    keep : int
        How many of the newest stay.

    Raises
    ------
    CheckpointError
        See :func:`set_aside_later`.
    """
    set_aside_later(disk, root, saved)
    try:
        prune(disk, root, keep)
        _remove_files(disk, [p for p in _own_files(saved) if _nonce(p) != nonce])
        for path in leftovers(root):
            remove(disk, path)
    except OSError as error:
        log.warning("cannot tidy %s: %s", root, error)


def set_aside_later(disk: Disk, root: Path, saved: Path) -> None:
    """Rename the checkpoints of later steps than that of `saved` to ``*.superseded``.

    They belong to a future that the run has left when it went back to an older one.

    Raises
    ------
    CheckpointError
        It cannot be done. That is no matter of tidiness: the next run would go on from there.
    """
    later = [path for path in find_checkpoints(root) if _step(path) > _step(saved)]
    # The newest last, and each on the disk before the next: whenever this is interrupted, the
    # newest checkpoint is the one that it was, or `saved`.
    for path in reversed(later):
        log.warning("%s is of a later step than %d: set aside", path, _step(saved))
        try:
            disk.rename(path, _free_name(disk, path))
            disk.fsync_directory(root)
        except OSError as error:
            raise CheckpointError(
                f"{saved} is on the disk, and {path}, which is of a later step, cannot be set "
                f"aside: {error.strerror}; rename it, or the next run goes on from there"
            ) from error


def _free_name(disk: Disk, path: Path) -> Path:
    """Return what a superseded checkpoint may be called; an earlier one of that name goes."""
    target = path.with_name(f"{path.name}.superseded")
    if target.is_dir():
        _take_apart(disk, target)
    number = 1
    while os.path.lexists(target):  # it holds files of somebody else
        number += 1
        target = path.with_name(f"{path.name}.superseded-{number}")
    return target


def prune(disk: Disk, root: Path, keep: int) -> list[Path]:
    """Remove all but the newest `keep` checkpoints; return what was removed."""
    found = find_checkpoints(root)
    kept, old = found[:keep], found[keep:]
    if old:
        # A job that was killed may have renamed a manifest and not flushed its name: what is seen
        # here counts as kept only when it outlasts a power failure.
        for path in kept:
            if path.is_dir():
                disk.fsync_directory(path)
    for path in old:
        remove(disk, path)
    return old


def remove(disk: Disk, path: Path) -> None:
    """Remove a checkpoint, or what is left of one; files that are not ours stay."""
    if not path.is_dir():
        disk.unlink(path)
        return
    _take_apart(disk, path)


def leftovers(root: Path) -> list[Path]:
    """Return what runs that were killed while they saved have left in `root`.

    These are directories without a manifest, and files on the way to their names. They count when
    the process that made them is gone from this host (or is this one, between two saves), or
    when nothing was written there for an hour.
    """
    found = []
    for path in root.iterdir():
        with contextlib.suppress(OSError):
            if _unfinished(path) and _abandoned(path):
                found.append(path)
    return found


def _unfinished(path: Path) -> bool:
    if path.is_symlink():
        return False
    if path.is_dir():
        return step_of(path.name) is not None and not has_manifest(path)
    v1 = path.name.startswith(".step-") and ".h5.tmp-" in path.name
    return v1 or path.name.startswith(f".{LATEST_NAME}.")


def _abandoned(path: Path) -> bool:
    files = list(path.iterdir()) if path.is_dir() else [path]
    owners = [_owner(file) for file in files]
    known = [owner for owner in owners if owner is not None]
    if known:
        return not any(_may_live(host, pid, path) for host, pid in known)
    newest = max(file.lstat().st_mtime for file in [path, *files])
    return time.time() - newest > _STALE_SECONDS


def _owner(path: Path) -> tuple[str, str] | None:
    """Return host and process id of an owner file, or of the name of a file of version 1."""
    if path.suffix == ".owner":
        words = path.read_text(errors="replace")[:256].split()
        return (words[0], words[1]) if len(words) == 2 else None
    if ".h5.tmp-" in path.name:
        host, _, pid = path.name.partition(".tmp-")[2].rpartition("-")[0].rpartition("-")
        return host, pid
    return None


def _may_live(host: str, pid: str, path: Path) -> bool:
    """Whether a process of some host may still be at work there."""
    if host != host_name():
        newest = max(p.lstat().st_mtime for p in [path, *_own_files(path)])
        return time.time() - newest <= _STALE_SECONDS
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _take_apart(disk: Disk, directory: Path) -> None:
    if has_manifest(directory):
        disk.unlink(directory / MANIFEST_NAME)
    # Also where it was gone: whoever removed it may have been killed before this.
    disk.fsync_directory(directory)
    _remove_files(disk, _own_files(directory))
    # With a file of somebody else in it, the directory stays; it is no checkpoint any more.
    with contextlib.suppress(OSError):
        disk.rmdir(directory)


def _remove_files(disk: Disk, paths: list[Path]) -> None:
    # The owner last: until then it says whose the rest is.
    for path in sorted(paths, key=lambda path: path.suffix == ".owner"):
        disk.unlink(path)


def _own_files(directory: Path) -> list[Path]:
    """Return the parts, owners and unfinished manifests of a checkpoint's directory."""
    if not directory.is_dir():
        return []
    return [path for path in directory.iterdir() if _nonce(path) is not None]


def _nonce(path: Path) -> str | None:
    """Return the nonce in the name of a file that a save has made, other than the manifest."""
    name = path.name
    if (nonce := nonce_of(name)) is not None:
        return nonce
    if name.startswith(f".{MANIFEST_NAME}."):
        return name.removeprefix(f".{MANIFEST_NAME}.")
    nonce = name.removeprefix(".").removesuffix(".owner")
    return nonce if name == owner_name(nonce) else None


def _step(path: Path) -> int:
    step = step_of(path.name)
    assert step is not None, path  # only names that step_of accepts come here
    return step
