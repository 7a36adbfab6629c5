"""Read one checkpoint in one process, of either version of the format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.checkpoint.reading.directory_reader import DirectoryReader
from hpcad.checkpoint.reading.opening import check_memory, naming
from hpcad.checkpoint.reading.reader_v1 import FileReader
from hpcad.errors import CheckpointError

Reader = DirectoryReader | FileReader


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: where it lies, its step, its arrays by name, its state."""

    path: Path
    step: int
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Reader]:
    """Open the checkpoint at `path` for the block, and name it in every error that leaves it.

    What is open has its contents table (`step`, `state`, `arrays`) checked, but no array read.

    Raises
    ------
    DamagedCheckpointError
        It is truncated, altered, or not a checkpoint.
    CheckpointError
        It does not exist, may not be read, or was written by a newer hpcad.
    """
    if not os.path.lexists(path):
        raise CheckpointError(f"there is no checkpoint {path}")
    with naming(path):
        reader = DirectoryReader(path) if os.path.isdir(path) else FileReader(path)
        try:
            yield reader
        finally:
            reader.close()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a whole checkpoint.

    Raises
    ------
    DamagedCheckpointError
        It is truncated, altered, or not a checkpoint.
    CheckpointError
        It does not exist, may not be read, does not fit into memory, or was written by a newer
        hpcad.
    """
    with open_checkpoint(path) as reader:
        if isinstance(reader, DirectoryReader):
            reader.check_parts()
        check_memory(sum(spec.nbytes for spec in reader.arrays))
        arrays = {spec.name: reader.read(spec.name) for spec in reader.arrays}
        return Checkpoint(path, reader.step, arrays, reader.state)
