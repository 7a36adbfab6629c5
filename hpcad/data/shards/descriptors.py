"""Open files, a bounded number at a time: the least recently used is closed for a new one.

A dataset may have more shards than a process may have open files. Who reads borrows a descriptor:
an object that closes itself when nobody holds it any longer. So one that another thread is still
reading from is never closed, or worse, given to another file under the same number.

Processes: a descriptor records the process that opened it, and a forked child opens its own.
Reading is by position (``pread``), so even a shared one would be harmless; the locks of threads
that do not exist in the child would not.
"""

from __future__ import annotations

import os
import resource
import stat
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from hpcad.errors import DataError

_MOST = 256  # descriptors of this kind in a process; fewer where its limit is low


class Descriptor:
    """An open file; closed when the last reference goes."""

    __slots__ = ("number", "process")

    def __init__(self, number: int) -> None:
        self.number, self.process = number, os.getpid()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.number)  # an argument, because it must still be there when Python ends


class StoredFile:
    """A file that is opened when it is needed, and must stay the one that it was.

    Parameters
    ----------
    path : Path
    size : int
        Bytes that it must have.

    Raises
    ------
    DataError
        From :meth:`Descriptors.borrow`: it is missing, has another size, is not a regular file,
        or was replaced since it was first opened.
    """

    __slots__ = ("__weakref__", "identity", "opened", "path", "size")

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self.opened: Descriptor | None = None
        self.identity: tuple[int, ...] | None = None

    def open(self) -> Descriptor:
        """Open the file anew, and check that it is the same."""
        try:
            descriptor = Descriptor(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC))
            status = os.fstat(descriptor.number)
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be opened ({error.strerror or error}); copy the shard again "
                "from its source, or pack the data again"
            ) from error
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{self.path}: is not a regular file; put the shard itself there")
        if status.st_size != self.size:
            raise DataError(
                f"{self.path}: this shard has {status.st_size} bytes, expected {self.size}; copy "
                "it again from its source, or pack the data again"
            )
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns)
        if self.identity is not None and identity != self.identity:
            raise DataError(
                f"{self.path}: this shard was replaced or changed while it was in use; start again "
                "with the data as they are now"
            )
        self.identity = identity
        return descriptor


class Descriptors:
    """The open files of this process.

    Parameters
    ----------
    most : int, optional
        How many stay open; by default 256, or a quarter of what the process may have.

    Attributes
    ----------
    opens : int
        How often a file was opened.
    """

    def __init__(self, most: int | None = None) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most is None:
            most = _MOST if limit == resource.RLIM_INFINITY else max(8, min(_MOST, limit // 4))
        self.most, self.opens = most, 0
        self._fresh()

    def borrow(self, files: Sequence[StoredFile]) -> list[Descriptor]:
        """Descriptors of these files; each stays open for as long as the caller keeps it."""
        if self._process != os.getpid():
            self._fresh()
        with self._lock:
            found = [self._known(file) for file in files]
        for place, file in enumerate(files):
            if found[place] is None:  # outside of the lock: on a busy file system this takes long
                found[place] = self._keep(file, file.open())
        return found  # type: ignore[return-value]  # the loop has filled the gaps

    def open_now(self) -> int:
        """How many files are kept open."""
        with self._lock:
            files = [weak() for weak in self._recent.values()]
        return sum(file is not None and file.opened is not None for file in files)

    def _fresh(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._recent: OrderedDict[int, weakref.ref[StoredFile]] = OrderedDict()

    def _known(self, file: StoredFile) -> Descriptor | None:
        opened = file.opened
        if opened is None or opened.process != self._process:
            return None
        if id(file) in self._recent and len(self._recent) > self.most // 2:
            self._recent.move_to_end(id(file))  # only where somebody may soon have to go
        return opened

    def _keep(self, file: StoredFile, opened: Descriptor) -> Descriptor:
        with self._lock:
            self.opens += 1
            file.opened = opened  # a second thread's is as good; the other closes when it is done
            self._recent[id(file)] = weakref.ref(file)
            self._recent.move_to_end(id(file))
            let_go = []
            while len(self._recent) > self.most:
                _, weak = self._recent.popitem(last=False)
                if (oldest := weak()) is not None:
                    let_go.append(oldest.opened)
                    oldest.opened = None
        let_go.clear()  # closes, outside of the lock
        return opened


OPEN = Descriptors()
