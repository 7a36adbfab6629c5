"""What earlier jobs have left where a stage is to lie: used, taken over, or removed."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import xxhash

from hpcad.data.staging.record import (
    FILE_NAME,
    PART,
    Owner,
    Record,
    read_record,
    remove_stage,
    write_record,
)
from hpcad.errors import DataError

_MARK = ".staging-"
_RECORD_SECONDS = 60.0  # after which a directory without a record is nobody's


@dataclass(frozen=True)
class Found:
    """What is there already.

    Attributes
    ----------
    folder : Path
        A directory that is this process's to fill, or the whole stage.
    exists, complete : bool
        Whether it is there, and under its final name.
    files : tuple of str
        Files that were complete once; they are compared before they are used.
    mine : bool
        Whether this job is to remove it at its end, if it keeps nothing.
    """

    folder: Path
    exists: bool = False
    complete: bool = False
    files: tuple[str, ...] = ()
    mine: bool = True


def stage_name(source: Path, part: str = "") -> str:
    """The name of a copy of a dataset: two datasets called `train` get different ones."""
    return f"{source.name}-{xxhash.xxh3_64_hexdigest(os.fsencode(source))}{part}"


def staging_folder(place: Path, name: str, nonce: str) -> Path:
    """The directory that is filled, beside its final name."""
    return place / f".{name}{_MARK}{nonce}"


def take_over(place: Path, name: str, nonce: str, wanted: Record) -> Found:
    """Look for the stage and for what is left of earlier ones; remove what nobody can use.

    Removed is what a process left that is known to be dead: copies that were never finished, and
    finished ones that were to go with their job. An unfinished copy of the same manifest is taken
    over: renamed, so that only one job can.

    Raises
    ------
    DataError
        Under the final name there is something else than a copy of this user, or a copy of another
        version of the dataset whose owner may be using it.
    """
    final, folder = place / name, staging_folder(place, name, nonce)
    found = Found(folder)
    for directory, record in _stages(place):
        if directory == final:
            continue
        usable = record.owner.is_this_process() or record.owner.is_dead()
        if not directory.name.startswith("."):
            if record.owner.is_dead() and not record.keep:
                remove_stage(directory, record)
        elif usable:
            same = directory.name.startswith(f".{name}{_MARK}") and _fits(record, wanted)
            if same and not found.exists and _claimed(directory, folder, record, wanted):
                found = Found(folder, exists=True, files=record.files)
            elif directory.exists():
                remove_stage(directory, record)
    if not os.path.lexists(final):
        return found
    record = _record_of_final(final)
    if not _fits(record, wanted):
        _remove_other(final, record)
        return found
    if found.exists:
        remove_stage(folder, wanted)
    left_behind = not record.keep and record.owner.is_dead()
    if left_behind:
        write_record(final, replace(record, owner=Owner.here(), keep=wanted.keep))
    return Found(final, exists=True, complete=True, files=record.files, mine=left_behind)


def reopen(final: Path, folder: Path, record: Record) -> None:
    """Take a finished stage out of use, because files of it are damaged.

    Raises
    ------
    DataError
        Another job may be using it.
    """
    if not (record.owner.is_this_process() or record.owner.is_dead()):
        raise DataError(
            f"{final}: files of this copy are damaged, and {record.owner} may be using it; stop "
            "that job, or stage to another place"
        )
    final.rename(folder)


def _stages(place: Path) -> list[tuple[Path, Record]]:
    """All stages of this user in a directory, finished or not."""
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    found = []
    for directory in (place / name for name in names):
        if directory.name.startswith(".") and _MARK not in directory.name:
            continue
        record = read_record(directory)
        if record is not None:
            found.append((directory, record))
        elif directory.name.startswith("."):
            _remove_unrecorded(directory)
    return found


def _remove_unrecorded(directory: Path) -> None:
    """Remove a directory whose process died between making it and writing its record."""
    with contextlib.suppress(OSError):
        status = directory.stat()
        old = time.time() - status.st_mtime > _RECORD_SECONDS
        if old and status.st_uid == os.getuid():
            (directory / (FILE_NAME + PART)).unlink(missing_ok=True)
            directory.rmdir()  # only if there is nothing else


def _record_of_final(final: Path) -> Record:
    record = None if final.is_symlink() else read_record(final)
    if record is None:
        raise DataError(
            f"{final}: is in the way of a stage and was not made by one of this user; move it away "
            "or stage to another place"
        )
    return record


def _remove_other(final: Path, record: Record) -> None:
    """Remove a copy of an older version of the dataset."""
    if not (record.owner.is_this_process() or record.owner.is_dead()):
        raise DataError(
            f"{final}: is a copy of another version of {record.source}, and {record.owner} may be "
            "using it; stop that job, or stage to another place"
        )
    if not remove_stage(final, record):
        raise DataError(
            f"{final}: is a copy of another version of {record.source}, and holds files that do "
            "not belong to it; move them away"
        )


def _fits(record: Record, wanted: Record) -> bool:
    return (record.manifest, record.shards) == (wanted.manifest, wanted.shards)


def _claimed(directory: Path, folder: Path, record: Record, wanted: Record) -> bool:
    """Make an unfinished copy this process's, unless another job is faster."""
    try:
        directory.rename(folder)
        write_record(folder, replace(record, owner=Owner.here(), keep=wanted.keep))
    except OSError:
        return False
    return True
