"""Which checkpoints a directory holds, by their names alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hpcad.checkpoint.format import MANIFEST_NAME, step_of
from hpcad.errors import CheckpointError


def find_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints in `directory`, newest step first; none when it is absent.

    A checkpoint is a directory ``step-00000123`` with a manifest, or a file ``step-00000123.h5``
    of version 1. Symbolic links are neither. Nothing is opened, so some may be damaged.

    Raises
    ------
    CheckpointError
        The directory cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            found = [Path(e.path) for e in entries if _is_checkpoint(e)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"cannot read directory {directory}: {error.strerror}") from error
    return sorted(found, key=_order, reverse=True)


def _is_checkpoint(entry: os.DirEntry[str]) -> bool:
    if step_of(entry.name) is None:
        return False
    if entry.name.endswith(".h5"):
        return entry.is_file(follow_symlinks=False)
    return entry.is_dir(follow_symlinks=False) and has_manifest(Path(entry.path))


def has_manifest(directory: Path) -> bool:
    """Whether a directory holds a manifest, which makes it a checkpoint."""
    try:
        return stat.S_ISREG((directory / MANIFEST_NAME).lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _order(path: Path) -> tuple[int, bool]:
    """By step; of one step, the directory is newer than the file."""
    step = step_of(path.name)
    assert step is not None, path  # only names that step_of accepts come here
    return step, not path.name.endswith(".h5")
