"""States on disk: one file each, in a directory that never outlives the computation."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from hpcad.autodiff.guard import fingerprint
from hpcad.backend import backend_of, to_host
from hpcad.errors import CheckpointError


class SpillDirectory:
    """A temporary directory; it is removed by :meth:`close`, with this object, or at exit.

    Parameters
    ----------
    parent : path, optional
        Where to make it; the system's directory for temporary files when left out.

    Raises
    ------
    CheckpointError
        It cannot be made there.
    """

    def __init__(self, parent: str | os.PathLike[str] | None = None) -> None:
        try:
            self.path = Path(tempfile.mkdtemp(prefix="hpcad-states-", dir=parent))
        except OSError as error:
            raise CheckpointError(
                f"no directory for spilled states can be made in {parent}: {error}; "
                "pass a directory that exists and can be written as directory="
            ) from error
        self._written = 0
        self.close: Callable[[], Any] = weakref.finalize(
            self, shutil.rmtree, self.path, ignore_errors=True
        )

    def write(self, arrays: Sequence[np.ndarray]) -> SpilledArrays:
        """Write plain arrays into a new file.

        Raises
        ------
        CheckpointError
            The file cannot be written; nothing is left of it.
        """
        self._written += 1
        path = self.path / f"{self._written}.npy"
        unfinished = path.with_suffix(".part")
        try:
            with open(unfinished, "wb") as file:
                for array in arrays:
                    npy.write_array(file, np.asarray(to_host(array)), allow_pickle=False)
            os.replace(unfinished, path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise CheckpointError(
                f"a state of {sum(a.nbytes for a in arrays)} bytes could not be spilled to "
                f"{path}: {error}; free some space, or pass another directory="
            ) from error
        return SpilledArrays(path, arrays)


class SpilledArrays:
    """The arrays of one file, which is removed with this object."""

    def __init__(self, path: Path, arrays: Sequence[Any]) -> None:
        self.path = path
        self._digests = [fingerprint(np.asarray(to_host(array))) for array in arrays]
        self._to_device = [backend_of(array).xp.asarray for array in arrays]
        self._remove = weakref.finalize(self, path.unlink, missing_ok=True)
        self._remove.atexit = False  # the directory goes as a whole

    def read(self) -> list[Any]:
        """The arrays, where they were: on the host or on the device.

        Raises
        ------
        CheckpointError
            The file is gone or damaged.
        """
        arrays = []
        try:
            with open(self.path, "rb") as file:
                arrays = [npy.read_array(file, allow_pickle=False) for _ in self._digests]
        except (OSError, ValueError, EOFError) as error:
            raise CheckpointError(
                f"the spilled state {self.path} cannot be read back: {error}; something removed or "
                "changed it while the backward pass still needed it"
            ) from error
        if [fingerprint(array) for array in arrays] != self._digests:
            raise CheckpointError(
                f"the spilled state {self.path} is damaged: its checksum differs from when it was "
                "written"
            )
        return [put(array) for put, array in zip(self._to_device, arrays, strict=True)]
