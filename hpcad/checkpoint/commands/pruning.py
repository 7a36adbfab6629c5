"""`hpcad ckpt prune`: remove old checkpoints by hand, as a save does by itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcad.checkpoint.disk import DISK
from hpcad.checkpoint.find import find_checkpoints
from hpcad.checkpoint.reading.reader import open_checkpoint
from hpcad.checkpoint.saving.prune import prune
from hpcad.errors import CheckpointError


def prune_checkpoints(arguments: argparse.Namespace) -> int:
    """Remove all but the newest checkpoints of a directory; one of those that stay is whole."""
    keep = arguments.keep
    if keep < 1:
        raise CheckpointError(f"--keep must be at least 1, not {keep}")
    root = _root(arguments.path)
    found = find_checkpoints(root)
    old = found[keep:]
    if old and not any(_verifies(path) for path in found[:keep]):
        raise CheckpointError(
            f"none of the {keep} newest checkpoints in {root} verifies, so nothing was removed; "
            "look at them with `hpcad ckpt verify`"
        )
    if not arguments.dry_run:
        try:
            prune(DISK, root, keep)
        except OSError as error:
            raise CheckpointError(f"cannot prune {root}: {error}") from error
    for path in old:
        print(f"{'would remove' if arguments.dry_run else 'removed'} {path}")
    print(f"{min(keep, len(found))} of {len(found)} checkpoints stay in {root}")
    return 0


def _root(path: Path) -> Path:
    """Return the directory of checkpoints, given it or the output directory above it."""
    for root in (path, path / "checkpoints"):
        if find_checkpoints(root):
            return root
    raise CheckpointError(f"there is no checkpoint in {path}")


def _verifies(path: Path) -> bool:
    try:
        with open_checkpoint(path) as reader:
            reader.verify()
    except CheckpointError:
        return False
    return True
