"""Verifying a dataset: every byte of every shard against the manifest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcad.data.builtin import resolve
from hpcad.data.manifest.contents import FILE_NAME, Manifest, ShardEntry
from hpcad.data.manifest.reader import parse_manifest, read_manifest
from hpcad.data.shards.opening import open_shard
from hpcad.errors import DataError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator


@dataclass(frozen=True)
class VerifyReport:
    """What :func:`verify_dataset` found.

    Attributes
    ----------
    shards, nbytes : int
        Shards looked at, and bytes of the arrays of the good ones.
    seconds : float
        Time it took, on the slowest rank.
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
    path: str | os.PathLike[str],
    progress: Callable[[str], None] | None = None,
    communicator: Communicator | None = None,
) -> VerifyReport:
    """Read a whole dataset and compare it with its manifest; collective with a communicator.

    Parameters
    ----------
    path
        The dataset's directory or ``builtin:`` name.
    progress
        Called with one line per shard, on the rank that read it.
    communicator
        Its ranks take the shards in turn.

    Returns
    -------
    VerifyReport
        Of all shards, the same on every rank.

    Raises
    ------
    DataError
        On every rank, if the manifest itself is missing or damaged. Damaged shards are reported,
        not raised.
    """
    directory = resolve(path)
    rank, size = (0, 1) if communicator is None else (communicator.rank, communicator.size)
    manifest = _manifest(directory, communicator)
    started = time.perf_counter()
    found: list[tuple[int, int, str]] = []
    for index in range(rank, len(manifest.shards), size):
        shard = manifest.shards[index]
        problem = _problem(directory, shard)
        nbytes = 0 if problem else sum(array.nbytes for array in shard.arrays.values())
        found.append((index, nbytes, problem))
        if progress:
            state = "damaged" if problem else "good"
            progress(f"[{index + 1}/{len(manifest.shards)}] {shard.file}: {state}")
    seconds = time.perf_counter() - started
    if communicator is not None:
        parts = communicator.gather_json([found, seconds], name="verify")
        found = sorted(tuple(each) for part, _ in parts for each in part)
        seconds = max(taken for _, taken in parts)
    return VerifyReport(
        shards=len(manifest.shards),
        nbytes=sum(nbytes for _, nbytes, _ in found),
        seconds=seconds,
        problems=tuple(problem for _, _, problem in found if problem),
    )


def _manifest(directory: Path, communicator: Communicator | None) -> Manifest:
    if communicator is None:
        return read_manifest(directory)
    value, error = None, None
    if communicator.rank == 0:
        try:
            value = read_manifest(directory).to_json()
        except DataError as problem:
            error = problem
    communicator.agree(error, name="verify")
    value = communicator.broadcast_json(value, name="manifest")
    return parse_manifest(value, directory / FILE_NAME)


def _problem(directory: Path, shard: ShardEntry) -> str:
    try:
        open_shard(directory, shard, verify="first")
    except DataError as error:
        return str(error)
    return ""
