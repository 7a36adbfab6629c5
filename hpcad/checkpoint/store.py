"""The checkpoints of one run: save, find the newest whole one, keep the last few."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hpcad.checkpoint.format import DamagedCheckpointError, step_of
from hpcad.checkpoint.format_v1 import file_name
from hpcad.checkpoint.reader import Checkpoint, read_checkpoint
from hpcad.checkpoint.writer import fsync_directory, leftovers, write_checkpoint
from hpcad.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator

log = logging.getLogger(__name__)

T = TypeVar("T")


class CheckpointStore:
    """Checkpoints in a directory; every method is called by all ranks together.

    Rank 0 alone touches the file system. What it finds, or fails with, reaches the other ranks
    through the communicator, so all of them continue from the same checkpoint or raise together.

    Parameters
    ----------
    directory
        Where the files ``step-00000123.h5`` lie; made by the first save.
    keep
        How many of the newest checkpoints survive a save; at least 2, so that a damaged newest
        one never is the last one.
    communicator
        None for a program of one process.

    Raises
    ------
    ConfigError
        `keep` is less than 2.
    """

    def __init__(
        self, directory: str | Path, *, keep: int = 2, communicator: Communicator | None = None
    ) -> None:
        if keep < 2:
            raise ConfigError(
                f"keep must be at least 2, not {keep}: with one checkpoint, damage to it is the "
                "end of the run"
            )
        if communicator is None:
            from hpcad.parallel.serial import SerialCommunicator

            communicator = SerialCommunicator()
        self.directory = Path(directory)
        self.keep = keep
        self._communicator = communicator

    def save(self, step: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Path:
        """Save the checkpoint of `step` and remove what is older than the newest `keep`.

        The file is complete on the disk before it gets its name, and it has its name before
        anything older is removed. Checkpoints of *later* steps belong to a future that this run
        has left (it went back to an older checkpoint): they are renamed to ``*.superseded``.

        Parameters
        ----------
        step
            Optimizer steps done; >= 0.
        arrays
            Name ("parameters/fc1.weight") -> array. Only those of rank 0 are used.
        state
            JSON values. Only those of rank 0 are used.

        Raises
        ------
        CheckpointError
            On all ranks, when the file system refuses (disk full, no permission, ...) or an array
            or the state cannot be stored. Older checkpoints are as they were.
        """
        self._at_root(lambda: self._save(step, arrays, state), "checkpoint save")
        return self.directory / file_name(step)

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint that verifies, or None when there are none.

        A damaged one is skipped with a warning that names it.

        Raises
        ------
        CheckpointError
            There are checkpoints and all of them are damaged, or the newest cannot be opened.
        """
        return self._share(self._at_root(self._latest, "checkpoint latest"))

    def load(self, path: str | Path | None = None) -> Checkpoint:
        """Return the checkpoint at `path`, or the newest one that verifies.

        Raises
        ------
        CheckpointError
            It does not exist, is damaged, or was written by a newer hpcad.
        """
        return self._share_some(self._at_root(lambda: self._load(path), "checkpoint load"))

    def paths(self) -> list[Path]:
        """Return the checkpoint files of the directory as this rank sees it, newest first."""
        return find_checkpoints(self.directory)

    def _save(self, step: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        if step < 0:
            raise CheckpointError(f"the step of a checkpoint is a count, not {step}")
        try:
            _make_directory(self.directory)
            write_checkpoint(self.directory, step, arrays, state)
        except OSError as error:
            raise CheckpointError(self._refusal(step, arrays, error)) from error
        self._tidy(step)

    def _tidy(self, step: int) -> None:
        """Remove old checkpoints and dead temporary files; the new checkpoint is safe by now."""
        try:
            found = find_checkpoints(self.directory)
            for path in found:
                if _step(path) > step:
                    log.warning("%s is of a later step than %d: set aside", path, step)
                    path.replace(path.with_name(f"{path.name}.superseded"))
            for path in [p for p in found if _step(p) <= step][self.keep :]:
                path.unlink()
            for path in leftovers(self.directory):
                path.unlink()
        except OSError as error:
            log.warning("cannot tidy %s: %s", self.directory, error)

    def _latest(self) -> Checkpoint | None:
        found = self.paths()
        for path in found:
            try:
                return read_checkpoint(path)
            except DamagedCheckpointError as error:
                log.warning("skipped: %s", error)
        if found:
            raise CheckpointError(
                f"none of the {len(found)} checkpoints in {self.directory} verifies "
                "(`hpcad ckpt verify` says why); start afresh with another directory"
            )
        return None

    def _load(self, path: str | Path | None) -> Checkpoint:
        checkpoint = self._latest() if path is None else read_checkpoint(Path(path))
        if checkpoint is None:
            raise CheckpointError(f"there is no checkpoint in {self.directory}")
        return checkpoint

    def _at_root(self, action: Callable[[], T], name: str) -> T | None:
        """Run `action` on rank 0; when it raises, all ranks raise."""
        result, failure = None, None
        if self._communicator.rank == 0:
            try:
                result = action()
            except CheckpointError as error:
                # The others cannot rebuild a subclass from its name: raise the common class.
                failure = CheckpointError(str(error)).with_traceback(error.__traceback__)
        self._communicator.agree(failure, name=name)
        return result

    def _share(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """Give the checkpoint of rank 0 to every rank."""
        if self._communicator.size == 1:
            return checkpoint
        header = self._communicator.broadcast_json(_header(checkpoint), name="checkpoint header")
        if header is None:
            return None
        if checkpoint is None:
            arrays = {name: np.empty(shape, dtype) for name, dtype, shape in header["arrays"]}
            checkpoint = Checkpoint(Path(header["path"]), header["step"], arrays, header["state"])
        for name, array in checkpoint.arrays.items():
            self._communicator.broadcast(array, name=name)
        return checkpoint

    def _share_some(self, checkpoint: Checkpoint | None) -> Checkpoint:
        shared = self._share(checkpoint)
        if shared is None:
            raise CheckpointError(f"there is no checkpoint in {self.directory}")
        return shared

    def _refusal(self, step: int, arrays: Mapping[str, np.ndarray], error: OSError) -> str:
        reason = error.strerror or str(error)
        message = f"cannot save the checkpoint of step {step} in {self.directory}: {reason}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            needed = sum(np.asarray(array).nbytes for array in arrays.values())
            message += f" ({needed / 1e6:.1f} MB needed"
            with contextlib.suppress(OSError):
                message += f", {shutil.disk_usage(self.directory).free / 1e6:.1f} MB free"
            message += "); make room or set [output] directory to another file system"
        return f"{message}; older checkpoints are untouched"


def find_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoint files in `directory`, newest step first; none when it is absent.

    Raises
    ------
    CheckpointError
        The directory cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            names = [e.name for e in entries if e.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"cannot read directory {directory}: {error.strerror}") from error
    paths = [directory / name for name in names if step_of(name) is not None]
    return sorted(paths, key=_step, reverse=True)


def _header(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """Return what the other ranks need in order to receive the arrays of `checkpoint`."""
    if checkpoint is None:
        return None
    return {
        "path": os.fspath(checkpoint.path),
        "step": checkpoint.step,
        "state": checkpoint.state,
        "arrays": [(name, a.dtype.str, a.shape) for name, a in checkpoint.arrays.items()],
    }


def _step(path: Path) -> int:
    step = step_of(path.name)
    assert step is not None, path  # only names that step_of accepts come here
    return step


def _make_directory(directory: Path) -> None:
    """Make `directory` and put its entry on the disk, as its files will be."""
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        fsync_directory(directory.parent)
