"""Saves whose contents say which save they are, so that a mixture of two cannot pass for one."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.checkpoint import Checkpoint, CheckpointStore, read_checkpoint
from hpcad.checkpoint.disk import DISK, Disk
from hpcad.checkpoint.find import has_manifest
from hpcad.errors import CheckpointError

KEEP = 2
SHAPES = {
    "parameters/weight": ((1500,), np.float32),  # two pages, so that ranks divide it
    "optimizer/m/weight": ((1100,), np.float64),  # three pages
    "parameters/bias": ((7,), np.float32),
    "optimizer/count": ((), np.int64),
}


@dataclass(frozen=True)
class Save:
    """One call of `CheckpointStore.save`: a number that no other one has, and the step."""

    number: int
    step: int
    wait: bool = True

    def arrays(self) -> dict[str, np.ndarray]:
        """Return arrays in which every element differs from that of other saves."""
        return _arrays(self.number)

    def state(self) -> dict[str, Any]:
        return {"save": self.number, "step": self.step}

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is this save, bit for bit."""
        own = self.arrays()
        return (
            checkpoint.step == self.step
            and checkpoint.state == self.state()
            and list(checkpoint.arrays) == list(own)
            and all(checkpoint.arrays[n].tobytes() == a.tobytes() for n, a in own.items())
        )


def series(*steps: int, wait: bool = True) -> list[Save]:
    """Return saves of these steps, one after the other."""
    return [Save(number, step, wait) for number, step in enumerate(steps, 1)]


def make_store(root: Path, communicator: Any = None, disk: Disk = DISK) -> CheckpointStore:
    """Return a store in which every rank writes a part, however small."""
    return CheckpointStore(root, communicator=communicator, keep=KEEP, disk=disk, smallest_part=1)


def carry_out(store: CheckpointStore, save: Save) -> None:
    """Save, and return when the checkpoint is there."""
    store.save(save.step, save.arrays(), save.state(), wait=save.wait)
    store.drain()


def kept(saves: Sequence[Save]) -> list[int]:
    """Return the steps of which there are checkpoints when these saves have returned."""
    steps: list[int] = []
    for save in saves:
        # A save of an earlier step sets the later ones aside.
        steps = [*(step for step in steps if step < save.step), save.step][-KEEP:]
    return steps


def complaint(
    root: Path, saves: Collection[Save], allowed: Collection[Save | None], whole: int
) -> str | None:
    """Say what is wrong with a directory of checkpoints after a crash, if anything is.

    Parameters
    ----------
    saves
        All that were begun.
    allowed
        What may be the newest one; None stands for no checkpoint at all.
    whole : int
        How many checkpoints must be there at least.
    """
    store = CheckpointStore(root)
    try:
        newest = store.latest()
    except CheckpointError as error:
        return f"cannot be loaded: {error}"
    found = _which(newest, saves)
    if found not in allowed:
        return f"loaded {found}, not one of {list(allowed)}"
    names = list(root.iterdir()) if root.is_dir() else []
    valid = 0
    for path in [p for p in names if p.is_dir() and has_manifest(p)]:
        try:
            # The newest one has been read; all others have to be whole as well.
            other = newest is None or path != newest.path
            save = _which(read_checkpoint(path), saves) if other else found
        except CheckpointError as error:
            return f"has a manifest and cannot be read: {error}"
        if not isinstance(save, Save):
            return f"{path.name} mixes saves"
        valid += path in store.paths()
    if valid < whole:
        return f"only {valid} checkpoints are left, and {whole} were there"
    return None


@functools.cache
def _arrays(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    return {
        name: np.asarray(rng.integers(1, 1 << 20, shape)).astype(dtype)
        for name, (shape, dtype) in SHAPES.items()
    }


def _which(checkpoint: Checkpoint | None, saves: Collection[Save]) -> Save | str | None:
    if checkpoint is None:
        return None
    return next((save for save in saves if save.holds(checkpoint)), "a mixture")
