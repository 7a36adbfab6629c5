"""The hidden directory in which a dataset grows, until one rename puts it into its place.

``.NAME.packing/`` beside the place holds ``plan.json``, ``records/`` with a file for every finished
shard, and ``dataset/``, which becomes the dataset. Killed at any moment, a packing leaves the whole
dataset or none, and with the records it can go on from there.
"""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpcad.data.manifest.contents import FILE_NAME, FieldSpec, Manifest
from hpcad.data.manifest.destination import (
    check_destination,
    disk_error,
    replace_directory,
    sync_directory,
)
from hpcad.data.manifest.reader import read_manifest
from hpcad.data.packing.record import (
    ShardRecord,
    difference,
    read_json,
    read_record,
    shard_name,
    write_json,
)
from hpcad.data.shards.opening import check_file
from hpcad.errors import DataError


class PackingPlace:
    """Where one dataset is packed. One process (rank 0) begins, commits and discards.

    Parameters
    ----------
    path : Path
        The dataset's directory.
    force : bool
        Replace a dataset that is there, and an unfinished packing that is not to be continued.

    Attributes
    ----------
    dataset : Path
        Where the shards grow.
    """

    def __init__(self, path: str | os.PathLike[str], force: bool) -> None:
        self.path, self.force = Path(os.path.abspath(path)), force
        self.hidden = self.path.parent / f".{self.path.name}.packing"
        self.dataset, self._records = self.hidden / "dataset", self.hidden / "records"
        self._plan, self._owner = self.hidden / "plan.json", self.hidden / "owner.json"
        self._made: list[Path] = []
        self._mine = self._done = False

    def begin(self, plan: dict[str, Any], fields: dict[str, FieldSpec], resume: bool) -> Any:
        """Make the hidden directory, or find one of the same plan.

        Returns
        -------
        list of ShardRecord, or None
            The shards that are finished already; None if the dataset is in its place already,
            and only the tidying up is missing.

        Raises
        ------
        DataError
            The place is taken; a packing is at work or was broken off there, and neither
            ``resume`` nor ``force`` was given; or it was of another plan.
        """
        there = self.hidden.exists()
        if there:
            self._check_owner()
        if there and resume and self._is_done(plan):
            self._mine = self._done = True
            return None
        check_destination(self.path, self.force)
        if there and not resume and not self.force:
            raise DataError(
                f"{self.hidden}: a packing of {self.path} was broken off there; go on with "
                "--resume, or start again with --force"
            )
        try:
            if there and not resume:
                shutil.rmtree(self.hidden)
            found = self._found(plan, fields) if there and resume else []
            self._made = [p for p in self.path.parents if not p.exists()]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.hidden.mkdir(exist_ok=there and resume)  # of two that begin at once, one fails
            self._mine = True
            for folder in (self.dataset, self._records):
                folder.mkdir(exist_ok=True)
            write_json(self._plan, plan)
            write_json(self._owner, {"host": socket.gethostname(), "process": os.getpid()})
        except OSError as error:
            raise disk_error(self.path, error) from error
        return found

    def record(self, record: ShardRecord) -> None:
        """Note that a shard is finished; any rank may do so."""
        write_json(self._records / f"{record.index:05d}.json", record.to_json())

    def commit(self) -> None:
        """Rename the finished dataset into its place; from here on it exists."""
        if self._done:
            return
        check_destination(self.path, self.force)
        replace_directory(self.dataset, self.path)
        sync_directory(self.path.parent)

    def discard(self) -> None:
        """Remove the hidden directory, and the directories above it that were made for it."""
        if self._mine:
            shutil.rmtree(self.hidden, ignore_errors=True)
        for directory in self._made:
            with suppress(OSError):  # not empty: the dataset, or somebody else's files
                directory.rmdir()

    def release(self) -> None:
        """Leave everything as it is, to go on with later."""
        if self._mine:
            self._owner.unlink(missing_ok=True)

    def manifest(self) -> Manifest:
        """That of the dataset in its place."""
        return read_manifest(self.path)

    def _is_done(self, plan: dict[str, Any]) -> bool:
        """Whether the rename was the last thing that happened."""
        return (
            not self.dataset.exists()
            and (self.path / FILE_NAME).exists()
            and not difference(read_json(self._plan), plan)
        )

    def _check_owner(self) -> None:
        owner = read_json(self._owner)
        if not isinstance(owner, dict) or owner.get("host") != socket.gethostname():
            return
        process = owner.get("process")
        if (
            isinstance(process, int)
            and process != os.getpid()
            and Path(f"/proc/{process}").exists()
        ):
            raise DataError(
                f"{self.path}: is being packed by process {process}; wait for it. If that is "
                f"something else, remove {self._owner}"
            )

    def _found(self, plan: dict[str, Any], fields: dict[str, FieldSpec]) -> list[ShardRecord]:
        if what := difference(read_json(self._plan), plan):
            raise DataError(
                f"{self.hidden}: the packing that was broken off there cannot be continued: "
                f"{what}; start again with --force and without --resume"
            )
        (self.dataset / FILE_NAME).unlink(missing_ok=True)  # it is written anew
        records = []
        for file in sorted(self._records.glob("*.json")):
            with suppress(DataError):  # a record or shard that a crash has torn is made again
                record = read_record(read_json(file), fields, file)
                check_file(self.dataset / record.entry.file, record.entry)
                if record.entry.file == shard_name(record.index):
                    records.append(record)
        return records
