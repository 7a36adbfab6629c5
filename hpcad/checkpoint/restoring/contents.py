"""The contents of a checkpoint as all ranks know them, and how one rank reads its share of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.checkpoint.manifest import ArraySpec, Manifest
from hpcad.checkpoint.reading.directory_reader import DirectoryReader
from hpcad.checkpoint.reading.reader import open_checkpoint
from hpcad.checkpoint.reading.reader_v1 import FileReader
from hpcad.checkpoint.restoring.distribution import Run, assign
from hpcad.checkpoint.restoring.together import from_root
from hpcad.errors import CheckpointError
from hpcad.parallel.communicator import Communicator


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds, on every rank.

    Attributes
    ----------
    path : Path
    step : int
    state : dict
    arrays : tuple of ArraySpec
        Those that were chosen.
    manifest : Manifest or None
        None for a file of version 1, which rank 0 alone reads.
    """

    path: Path
    step: int
    state: dict[str, Any]
    arrays: tuple[ArraySpec, ...]
    manifest: Manifest | None

    def select(self, patterns: Sequence[str] | None) -> Contents:
        """Return the contents with those arrays only whose names match one of `patterns`."""
        if patterns is None:
            return self
        chosen = set(match_names([spec.name for spec in self.arrays], patterns, self.path))
        return replace(self, arrays=tuple(s for s in self.arrays if s.name in chosen))

    def runs(self, size: int) -> list[Run]:
        """Return who of `size` ranks reads what."""
        if self.manifest is not None:
            return assign(self.arrays, size)
        return [Run(spec.name, 0, spec.nbytes, 0) for spec in self.arrays]

    def read(self, runs: Sequence[Run], data: Mapping[str, np.ndarray]) -> None:
        """Read and verify `runs` into the flat bytes of their arrays."""
        if not runs:
            return
        if self.manifest is None:
            file = FileReader(self.path)
            try:
                for run in runs:
                    data[run.array][...] = file.read(run.array).reshape(-1).view(np.uint8)
            finally:
                file.close()
            return
        reader = DirectoryReader(self.path, self.manifest)
        try:
            for run in sorted(runs, key=_place):
                assert run.spec is not None
                assert run.piece is not None  # `assign` made it
                reader.read_slice(run.spec, run.piece, data[run.array][run.begin : run.end].data)
        finally:
            reader.close()

    def read_slices(self, starts: Mapping[str, int], data: Mapping[str, np.ndarray]) -> None:
        """Read and verify slices of arrays from the given elements on into flat bytes."""
        if not starts or self.manifest is None:
            return
        reader = DirectoryReader(self.path, self.manifest)
        specs = {spec.name: spec for spec in self.arrays}
        try:
            for name, start in starts.items():
                reader.read_into(specs[name], start, data[name].data)
        finally:
            reader.close()


def common_contents(path: Path, communicator: Communicator) -> Contents:
    """Read the contents of a checkpoint on rank 0 and return them on all ranks; collective.

    Raises
    ------
    CheckpointError
        On all ranks.
    """
    told = from_root(communicator, lambda: _told(path), "checkpoint contents")
    if told["version"] == DirectoryReader.version:
        manifest = Manifest.decode(told["manifest"].encode())
        return Contents(path, manifest.step, manifest.state, manifest.arrays, manifest)
    arrays = tuple(ArraySpec(n, dtype, tuple(shape), ()) for n, dtype, shape in told["arrays"])
    return Contents(path, told["step"], told["state"], arrays, None)


def match_names(names: Sequence[str], patterns: Sequence[str], where: Path) -> list[str]:
    """Return the names that match a pattern of a shell; each pattern must match something.

    Raises
    ------
    CheckpointError
        A pattern matches no name.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            known = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise CheckpointError(
                f"checkpoint {where} holds no array that matches {pattern!r}; it holds {known}"
            )
    return [n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns)]


def _told(path: Path) -> dict[str, Any]:
    with open_checkpoint(path) as reader:
        if isinstance(reader, DirectoryReader):
            reader.check_parts()  # before any rank allocates an array
            return {"version": reader.version, "manifest": reader.manifest.encode().decode()}
        arrays = [(spec.name, spec.dtype, spec.shape) for spec in reader.arrays]
        return {
            "version": reader.version,
            "step": reader.step,
            "state": reader.state,
            "arrays": arrays,
        }


def _place(run: Run) -> tuple[str, int]:
    """In the order of the file system."""
    assert run.piece is not None
    return run.piece.part, run.piece.offset
