"""A disk that writes down everything that is done with it, in the order in which it happened."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcad.checkpoint.disk import Disk

from .ranks import Stopped, ThreadCommunicator


@dataclass(frozen=True)
class Event:
    """One operation of one rank.

    Attributes
    ----------
    meetings : int
        Collectives that the rank had passed; see :class:`~.ranks.ThreadCommunicator`.
    name : str
        A method of `Disk`; "returned" when a save has returned.
    path : Path or None
        Of a directory or a name, below the place of the recording.
    detail : object
        pwrite: (offset, bytes); rename: the new path; returned: which save.
    file : int
        Which file, where one is written or flushed: a number that no other file has had.
    """

    rank: int
    meetings: int
    name: str
    path: Path
    detail: Any = None
    file: int = -1


class Recording:
    """The operations of all ranks in one list.

    Parameters
    ----------
    place : Path
        Everything happens below it.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.events: list[Event] = []
        self.lock = threading.RLock()
        self.files = 0
        self._passed = 0  # collectives of the jobs before this one

    def disk(self, communicator: ThreadCommunicator) -> RecordingDisk:
        """Return the disk of one rank."""
        return RecordingDisk(self, communicator)

    def next_job(self) -> None:
        """Say that what follows comes after everything so far, on all ranks."""
        self._passed = 1 + max((event.meetings for event in self.events), default=0)

    def add(self, communicator: ThreadCommunicator, name: str, path: Path, *rest: Any) -> None:
        meetings = self._passed + communicator.meetings
        path = path.relative_to(self.place)
        self.events.append(Event(communicator.rank, meetings, name, path, *rest))


class RecordingDisk(Disk):
    """Carries out operations and adds them to a recording."""

    def __init__(self, recording: Recording, communicator: ThreadCommunicator) -> None:
        self._recording, self._communicator = recording, communicator
        self._left: int | None = None
        self._open: dict[int, tuple[Path, int]] = {}

    def stop_after(self, operations: int) -> None:
        """Let the rank end for good after as many operations as that."""
        self._left = operations

    def returned(self, save: int) -> None:
        """Write down that a save has returned."""
        with self._recording.lock:
            self._add("returned", self._recording.place, save)

    def make_directory(self, path: Path) -> None:
        with self._recording.lock, self._running():
            super().make_directory(path)
            self._add("make_directory", path)

    def create(self, path: Path, *, direct: bool = False) -> int:
        with self._recording.lock, self._running():
            descriptor = super().create(path, direct=False)
            self._recording.files += 1
            self._open[descriptor] = (path, self._recording.files)
            self._add("create", path, None, self._recording.files)
        return descriptor

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        with self._recording.lock, self._running():
            count = super().pwrite(descriptor, data, offset)
            path, file = self._open[descriptor]
            self._add("pwrite", path, (offset, bytes(data[:count])), file)
        return count

    def fsync(self, descriptor: int) -> None:
        with self._recording.lock, self._running():
            path, file = self._open[descriptor]
            self._add("fsync", path, None, file)

    def close(self, descriptor: int) -> None:
        with self._recording.lock:
            del self._open[descriptor]
            super().close(descriptor)

    def fsync_directory(self, path: Path) -> None:
        if not path.is_relative_to(self._recording.place):
            return  # what lies above is taken to be there for good
        with self._recording.lock, self._running():
            assert path.is_dir()
            self._add("fsync_directory", path)

    def rename(self, source: Path, target: Path) -> None:
        with self._recording.lock, self._running():
            super().rename(source, target)
            self._add("rename", source, target.relative_to(self._recording.place))

    def unlink(self, path: Path) -> None:
        with self._recording.lock, self._running():
            super().unlink(path)
            self._add("unlink", path)

    def rmdir(self, path: Path) -> None:
        with self._recording.lock, self._running():
            super().rmdir(path)
            self._add("rmdir", path)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        if self._left == 0:
            self._communicator.stopped = True
        if self._communicator.stopped:
            raise Stopped
        if self._left is not None:
            self._left -= 1
        yield

    def _add(self, name: str, path: Path, *rest: Any) -> None:
        self._recording.add(self._communicator, name, path, *rest)
