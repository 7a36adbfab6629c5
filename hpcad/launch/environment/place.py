"""The directory of a node that receives the copy: made aside, renamed when it is whole.

`NAME` is what a user gives, ``.NAME.partial`` beside it what is being written, and locked while it
is: nobody else writes there, and what a killed run has left is removed by the next one. A directory
that this command has not made is never replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from hpcad.errors import LaunchError
from hpcad.launch.environment.contents import below, lasting
from hpcad.launch.environment.digest import digest_of

RECORD = ".hpcad-environment.json"
_SPARE = 16 << 20  # bytes
_TOKEN = ".from-"


class Place:
    """Where the copy of this node goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.partial")
        self._lock: int | None = None

    def is_whole(self, state: str) -> bool:
        """Whether there is a copy of an environment in this state, not a byte of it changed."""
        record = self._record()
        return (
            record is not None
            and record.get("state") == state
            and record.get("digest") == digest_of(_files(self.path))
        )

    def open(self, needed: int, run: str, node: int) -> None:
        """Make the directory aside, for a run of that name.

        Raises
        ------
        LaunchError
            There is something else, or too little room, or another run writes there.
        """
        if self.path.exists() and self._record() is None and _has_entries(self.path):
            raise LaunchError(
                f"{self.path} exists and was not made by this command; name another directory, or "
                "remove it"
            )
        self.partial.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.partial, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = None
            raise LaunchError(
                f"another run writes to {self.partial}, or several nodes share that directory: "
                "name one on a disk of each node"
            ) from None
        self._clear(run)
        (self.partial / f"{_TOKEN}{run}-{node}").touch()
        found = os.statvfs(self.partial)
        free = found.f_bavail * found.f_frsize
        if free < needed + _SPARE:
            raise LaunchError(
                f"{self.path.parent} has {free / 2**20:,.0f} MiB free, and the environment needs "
                f"{(needed + _SPARE) / 2**20:,.0f} MiB; name another directory"
            )

    def check_own(self) -> None:
        """Raise where another node writes to the same directory; after all have opened theirs."""
        others = sorted(self.partial.glob(f"{_TOKEN}*"))
        if len(others) != 1:
            raise LaunchError(
                f"{self.path.parent} is shared by several nodes; name a directory on a disk of "
                "each node, such as '$TMPDIR/env'"
            )
        others[0].unlink()

    def files(self) -> list[tuple[str, Path]]:
        """What was unpacked."""
        return _files(self.partial)

    def publish(self, state: str) -> None:
        """Rename the copy to its name; what was there before is removed."""
        record = {"state": state, "digest": digest_of(self.files())}
        (self.partial / RECORD).write_text(json.dumps(record))
        old = self.path.with_name(f".{self.path.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.path.exists():
            self.path.rename(old)
        self.partial.rename(self.path)
        shutil.rmtree(old, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Remove what is not whole, and let others write."""
        if self._lock is not None:
            shutil.rmtree(self.partial, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    def _record(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.path / RECORD).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _clear(self, run: str) -> None:
        """Remove what a killed run has left."""
        for path in self.partial.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif not path.name.startswith(f"{_TOKEN}{run}-"):
                path.unlink()


def _files(folder: Path) -> list[tuple[str, Path]]:
    """All but the record, and what Python compiles."""
    found = lasting(below(folder, ""))
    return sorted((name, path) for name, path in found if name != RECORD)


def _has_entries(path: Path) -> bool:
    return not path.is_dir() or any(path.iterdir())
