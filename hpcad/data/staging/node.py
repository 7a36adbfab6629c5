"""The copy of a dataset on one node: looked for, begun, compared file by file, and named.

The first rank of a node makes, renames and removes; the others of the node are told what it found
(:meth:`NodeStage.told`, :meth:`NodeStage.adopt`) and only compare files with the manifest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import FILE_NAME, manifest_text
from hpcad.data.manifest.destination import sync_directory
from hpcad.data.shards.opening import open_shard
from hpcad.data.staging.leftovers import Found, reopen, stage_name, staging_folder, take_over
from hpcad.data.staging.plan import from_text, to_text
from hpcad.data.staging.record import PART, Record, read_record, remove_stage, write_record
from hpcad.data.staging.room import free_bytes
from hpcad.data.staging.source import Source
from hpcad.errors import DataError


class NodeStage:
    """One node's copy.

    Parameters
    ----------
    source : Source
    needed : sequence of int
        Numbers of the shards that this node is to have; the others become links.
    part : str
        Behind the name of a copy that has only a part of the shards.
    keep, sync : bool
        As :func:`~hpcad.data.staging.stage.stage` takes them.

    Attributes
    ----------
    place : Path
        Directory of the node in which the copy lies.
    found : Found
        What is there, and which directory it is.
    """

    def __init__(
        self, source: Source, needed: Sequence[int], part: str, keep: bool, sync: bool
    ) -> None:
        self._source, self._needed = source, needed
        self._keep, self._sync = keep, sync
        self.names = source.names
        self.name, self.place = stage_name(source.directory, part), Path()
        self.found, self._free = Found(Path()), 0
        hash_ = source.manifest.hash
        self._record = Record(str(source.directory), hash_, tuple(self.names), keep=keep)
        self._good: set[str] = set()

    # -- by the first rank of the node -------------------------------------------------------------

    def look(self) -> None:
        """Find out what is there, and what room."""
        self.place.mkdir(parents=True, exist_ok=True)
        self.found = take_over(self.place, self.name, self._source.nonce, self._record)
        self._free = free_bytes(self.place)

    def begin(self, have: Iterable[int]) -> None:
        """Make the directory and its record, or go on with one that was begun before.

        Parameters
        ----------
        have : iterable of int
            Shards that are there and are good. Other files are removed.
        """
        self._good = {self.names[file] for file in have}
        if self.found.complete and self._good >= {self.names[file] for file in self._needed}:
            return
        folder = staging_folder(self.place, self.name, self._source.nonce)
        if self.found.complete:
            record = read_record(self.found.folder)
            if record is not None:
                reopen(self.found.folder, folder, record)
        elif not self.found.exists:
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError as error:
                raise DataError(
                    f"{self.place}: is seen by more than one node, so a copy in it would gain "
                    "nothing; stage to a directory that each node has for itself"
                ) from error
        for name in set(self.names) - self._good:
            (folder / name).unlink(missing_ok=True)
        self.found = Found(folder, exists=True)
        self.note([])

    def note(self, files: Iterable[int]) -> None:
        """Record that more shards are good."""
        self._good |= {self.names[file] for file in files}
        if not self.found.complete:
            done = tuple(name for name in self.names if name in self._good)
            write_record(self.found.folder, replace(self._record, files=done))

    def finish(self) -> None:
        """Put in what is missing, and give the copy its name."""
        folder = self.found.folder
        if self.found.complete:
            return
        for name in set(self.names) - self._good:
            (folder / name).symlink_to(self._source.directory / name)
        (folder / FILE_NAME).write_text(manifest_text(self._source.manifest), encoding="utf-8")
        done = tuple(name for name in self.names if name in self._good)
        write_record(folder, replace(self._record, files=done, complete=True))
        if self._sync:
            for name in os.listdir(folder):
                if name not in self.names:
                    _flush(folder / name)
            sync_directory(folder)
        final = self.place / self.name
        try:
            folder.rename(final)
        except OSError:
            theirs = read_record(final)
            if (
                theirs is None
                or theirs.manifest != self._source.manifest.hash
                or not theirs.complete
            ):
                raise
            remove_stage(folder, self._record)  # another job was faster, with the same copy
            self.found = Found(final, exists=True, complete=True, mine=False)
            return
        if self._sync:
            sync_directory(self.place)
        self.found = Found(final, exists=True, complete=True)

    def give_up(self) -> None:
        """After an error: leave what the next try can use, or nothing, if nothing is to be kept."""
        if not self._keep and self.found.exists and not self.found.complete:
            remove_stage(self.found.folder, self._record)

    @property
    def removes(self) -> bool:
        """Whether the copy is to be removed when the job ends."""
        return self.found.mine and not self._keep

    # -- by every rank of the node -----------------------------------------------------------------

    def told(self) -> dict[str, Any]:
        """What the other ranks need to know, as JSON."""
        found = self.found
        return {
            "folder": os.fspath(found.folder),
            "complete": found.complete,
            "exists": found.exists,
            "files": to_text(self.candidates(), len(self.names)),
            "mine": found.mine,
            "free": self._free,
        }

    def adopt(self, told: dict[str, Any]) -> None:
        """Know what the first rank knows."""
        files = from_text(told["files"], len(self.names))
        self.found = Found(
            Path(told["folder"]),
            told["exists"],
            told["complete"],
            tuple(self.names[file] for file in np.flatnonzero(files)),
            told["mine"],
        )

    def candidates(self) -> list[int]:
        """Shards that were complete once."""
        were = set(self.found.files)
        return [file for file in self._needed if self.names[file] in were]

    def is_good(self, file: int) -> bool:
        """Whether a shard that is there has the size and the checksums of the manifest."""
        try:
            self._compare(file, "")
        except DataError:
            return False
        return not (self.found.folder / self.names[file]).is_symlink()

    def accept(self, file: int) -> None:
        """Compare a shard that was copied with the manifest, and give it its name.

        Raises
        ------
        DataError
            It is damaged.
        """
        path = self.found.folder / self.names[file]
        beside = path.with_name(path.name + PART)
        try:
            self._compare(file, PART)
        except DataError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise DataError(
                f"{self._source.directory / self.names[file]}: its copy on this node does not fit "
                f"the manifest: {error}"
            ) from error
        if self._sync:
            _flush(beside)
        beside.rename(path)

    def _compare(self, file: int, suffix: str) -> None:
        entry = self._source.manifest.shards[file]
        entry = replace(entry, file=entry.file + suffix)
        open_shard(self.found.folder, entry, verify="first")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
