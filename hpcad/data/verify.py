"""Verifying a dataset: every byte of every shard against the manifest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcad.data.builtin import resolve
from hpcad.data.manifest import ShardEntry
from hpcad.data.manifest_reader import read_manifest
from hpcad.data.shards import open_shard
from hpcad.errors import DataError


@dataclass(frozen=True)
class VerifyReport:
    """What :func:`verify_dataset` found.

    Attributes
    ----------
    shards, nbytes : int
        Shards looked at, and bytes of the arrays of the good ones.
    seconds : float
        Time it took.
    problems : tuple of str
        One sentence per damaged shard; empty if all is well.
    """

    shards: int
    nbytes: int
    seconds: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every shard is as it was packed."""
        return not self.problems


def verify_dataset(
    path: str | os.PathLike[str], progress: Callable[[str], None] | None = None
) -> VerifyReport:
    """Read a whole dataset and compare it with its manifest.

    Parameters
    ----------
    path
        The dataset's directory or ``builtin:`` name.
    progress
        Called with one line per shard.

    Raises
    ------
    DataError
        If the manifest itself is missing or damaged. Damaged shards are reported, not raised.
    """
    directory = resolve(path)
    manifest = read_manifest(directory)
    started = time.perf_counter()
    problems, nbytes = [], 0
    for index, shard in enumerate(manifest.shards, start=1):
        problem = _problem(directory, shard)
        if problem:
            problems.append(problem)
        else:
            nbytes += sum(array.nbytes for array in shard.arrays.values())
        if progress:
            state = "damaged" if problem else "good"
            progress(f"[{index}/{len(manifest.shards)}] {shard.file}: {state}")
    seconds = time.perf_counter() - started
    return VerifyReport(len(manifest.shards), nbytes, seconds, tuple(problems))


def _problem(directory: Path, shard: ShardEntry) -> str:
    try:
        open_shard(directory, shard, verify=True)
    except DataError as error:
        return str(error)
    return ""
