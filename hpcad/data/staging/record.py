"""The record of a stage: what it is a copy of, what of it is there, and whose it is.

``stage.json`` lies in the directory of the copy from its first moment on. Nothing is taken for a
copy, and nothing is removed, without a record that can be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hpcad.data.manifest.contents import FILE_NAME as MANIFEST
from hpcad.parallel.launcher import batch_job

FILE_NAME = "stage.json"
FORMAT = "hpcad-stage"
VERSION = 1
PART = ".part"  # after the name of a file that is not complete
_MAX_FILE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Owner:
    """A process, told apart from a later one with the same number.

    Attributes
    ----------
    host, boot : str
        Name of the machine, and the kernel's name for this run of it.
    pid, started : int
        Number of the process, and when it began (clock ticks since the machine did).
    job : str
        Number of the batch job, for people; empty outside of one.
    """

    host: str
    boot: str
    pid: int
    started: int
    job: str = ""

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _boot(), pid, _started(pid) or 0, batch_job(os.environ))

    def is_this_process(self) -> bool:
        """Whether that is the process that asks."""
        return replace(self, job="") == replace(Owner.here(), job="")

    def is_dead(self) -> bool:
        """Whether it is known to be gone. Of another machine's processes nothing is known."""
        if self.host != socket.gethostname():
            return False
        return self.boot != _boot() or _started(self.pid) != self.started

    def __str__(self) -> str:
        job = f" of job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"


@dataclass(frozen=True)
class Record:
    """What is known of a stage.

    Attributes
    ----------
    source : str
        Directory of the dataset.
    manifest : str
        Hash of its manifest.
    shards : tuple of str
        Names of all files that the stage is to have, besides manifest and record.
    files : tuple of str
        Those that are complete and were compared with the manifest.
    owner : Owner
    keep : bool
        Whether it is to stay when its job ends.
    complete : bool
    time : str
    """

    source: str
    manifest: str
    shards: tuple[str, ...]
    files: tuple[str, ...] = ()
    owner: Owner = field(default_factory=Owner.here)
    keep: bool = True
    complete: bool = False
    time: str = ""


def write_record(directory: Path, record: Record) -> None:
    """Replace the record of a directory, at once; OSError if that fails."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    value = {"format": FORMAT, "version": VERSION, **asdict(replace(record, time=now))}
    beside = directory / (FILE_NAME + PART)
    beside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    beside.replace(directory / FILE_NAME)


def read_record(directory: Path) -> Record | None:
    """The record of a directory; None if there is none of this user, or it is not as it should be.

    It is read like any file that may come from others: only known keys, each of its type, and names
    without a directory.
    """
    path = directory / FILE_NAME
    try:
        status = path.lstat()
        if status.st_uid != os.getuid() or status.st_size > _MAX_FILE_BYTES or path.is_symlink():
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
        if (value.pop("format"), value.pop("version")) != (FORMAT, VERSION):
            return None
        value["owner"] = Owner(**value["owner"])
        return _checked(Record(**value))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def remove_stage(directory: Path, record: Record) -> bool:
    """Remove a stage: the files that its record names, and the directory if it is then empty.

    Returns
    -------
    bool
        Whether the directory is gone. Files of others in it are left, and so is the directory.
    """
    names = [*record.shards, MANIFEST, FILE_NAME]
    for name in names:
        for path in (directory / name, directory / (name + PART)):
            with contextlib.suppress(OSError):
                path.unlink()
    with contextlib.suppress(OSError):
        directory.rmdir()
    return not directory.exists()


def _checked(record: Record) -> Record | None:
    names = (*record.shards, *record.files)
    types = [
        (str, (record.source, record.manifest, record.time, *names)),
        (bool, (record.keep, record.complete)),
        (str, (record.owner.host, record.owner.boot, record.owner.job)),
        (int, (record.owner.pid, record.owner.started)),
        (list, (record.shards, record.files)),
    ]
    right = all(_are(kind, values) for kind, values in types)
    if not right or not all(is_plain(name) for name in names) or record.owner.pid < 1:
        return None
    return replace(record, shards=tuple(record.shards), files=tuple(record.files))


def _are(kind: type, values: Iterable[Any]) -> bool:
    return all(type(value) is kind for value in values)


def is_plain(name: str) -> bool:
    """Whether that is the name of a file in this directory, and not a hidden one."""
    return bool(name) and not name.startswith(".") and not {"/", "\0"} & set(name)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None if there is no such process."""
    try:
        # The second word is the program's name in brackets, which may itself hold any characters.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if words[0] in "ZX" else int(words[19])
    except (OSError, IndexError, ValueError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)  # elsewhere than on Linux: only whether there is one
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return 0
