"""Disks that end the process, end the rank, or fail at one operation out of all."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any, ClassVar

from hpcad.checkpoint.disk import Disk

from .ranks import Stopped, ThreadCommunicator

OPERATIONS = (
    "make_directory",
    "create",
    "pwrite",
    "fsync",
    "close",
    "fsync_directory",
    "rename",
    "unlink",
    "rmdir",
)

Real = Callable[..., Any]


class CountingDisk(Disk):
    """Counts operations; subclasses do something else at number `point`, counted from 0.

    Attributes
    ----------
    count : int
        Operations so far.
    """

    def __init__(self, point: int = -1) -> None:
        self.point, self.count = point, 0
        self._names: dict[int, str] = {}

    def at_point(self, name: str, real: Real, arguments: tuple, options: dict) -> Any:
        """Do this instead of the operation at the point."""
        return real(*arguments, **options)

    def step(self, name: str, real: Real, arguments: tuple, options: dict) -> Any:
        number, self.count = self.count, self.count + 1
        if number != self.point:
            return real(*arguments, **options)
        return self.at_point(name, real, arguments, options)

    def described(self, name: str, arguments: tuple) -> str:
        """Return an operation with the file or directory that it is about (its new name)."""
        where = arguments[1] if name == "rename" else arguments[0]
        return f"{name} {self._names[where] if isinstance(where, int) else where.name}"


def _counted(name: str) -> Callable[..., Any]:
    def call(self: CountingDisk, *arguments: Any, **options: Any) -> Any:
        real = getattr(super(CountingDisk, self), name)
        found = self.step(name, real, arguments, options)
        if name == "create":
            self._names[found] = arguments[0].name
        return found

    return call


for _name in OPERATIONS:
    setattr(CountingDisk, _name, _counted(_name))


class KillingDisk(CountingDisk):
    """Kills the process: before the operation, or after half of it where it is a write."""

    def at_point(self, name: str, real: Real, arguments: tuple, options: dict) -> Any:
        if name == "pwrite":
            descriptor, data, offset = arguments
            os.pwrite(descriptor, data[: len(data) // 8192 * 4096], offset)
        os.kill(os.getpid(), signal.SIGKILL)


class StoppingDisk(CountingDisk):
    """Ends a rank that is a thread, as a kill would: it does nothing more, not even tidy up."""

    def __init__(self, communicator: ThreadCommunicator, point: int) -> None:
        super().__init__(point)
        self._communicator = communicator

    def step(self, name: str, real: Real, arguments: tuple, options: dict) -> Any:
        if self._communicator.stopped:
            raise Stopped
        return super().step(name, real, arguments, options)

    def at_point(self, name: str, real: Real, arguments: tuple, options: dict) -> Any:
        self._communicator.stopped = True
        raise Stopped


class FailingDisk(CountingDisk):
    """Refuses one operation, and then for good what the same reason stands against.

    Parameters
    ----------
    code : int
        Number of the error, from `errno`. A disk that is full stays full, and one that has become
        read-only changes nothing any more.
    """

    _LASTING: ClassVar[dict[int, tuple[str, ...]]] = {
        errno.ENOSPC: ("make_directory", "create", "pwrite", "fsync"),
        errno.EDQUOT: ("make_directory", "create", "pwrite", "fsync"),
        errno.EROFS: tuple(name for name in OPERATIONS if name != "close"),
    }

    def __init__(self, point: int, code: int) -> None:
        super().__init__(point)
        self.code = code

    def step(self, name: str, real: Real, arguments: tuple, options: dict) -> Any:
        if self.count > self.point and name in self._LASTING.get(self.code, ()):
            raise OSError(self.code, os.strerror(self.code))
        return super().step(name, real, arguments, options)

    def at_point(self, name: str, real: Real, arguments: tuple, options: dict) -> Any:
        if name == "close":
            real(*arguments)  # Linux has released it, whatever it reports
        raise OSError(self.code, os.strerror(self.code))
