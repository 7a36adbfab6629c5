"""Everything that saving does to a file system, in one place.

Whoever saves, commits or prunes calls a `Disk` and nothing else, so that a test can record the
operations, fail any of them, or stop the process between two of them.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

_LARGEST_CALL = 1 << 28  # bytes; Linux moves at most 2 GiB - 4 KiB per call

#: Offsets, lengths and addresses that direct writes need are multiples of this many bytes.
PAGE = 4096


class Disk:
    """The operations of the operating system, one method each; errors are `OSError`."""

    def make_directory(self, path: Path) -> None:
        """Make a directory; it may be there, since every rank makes it."""
        path.mkdir(exist_ok=True)

    def create(self, path: Path, *, direct: bool = False) -> int:
        """Create a file that must not be there; return its descriptor, for writing.

        Parameters
        ----------
        direct : bool
            Let writes go past the page cache, where the file system can: a page cache would copy
            every byte once more, and drop the data of others.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        if direct:
            try:
                return os.open(path, flags | getattr(os, "O_DIRECT", 0), 0o666)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # Linux has created the file before the file system said that it cannot.
                path.unlink(missing_ok=True)
        return os.open(path, flags, 0o666)

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        """Write at `offset` and return how many bytes were written: at least one."""
        return os.pwrite(descriptor, data[:_LARGEST_CALL], offset)

    def fsync(self, descriptor: int) -> None:
        """Put a file's bytes and length on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a file. Some file systems report only here that a write failed."""
        os.close(descriptor)

    def fsync_directory(self, path: Path) -> None:
        """Put the entries of a directory on the disk: names made, changed and removed."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or directory another name; a file of that name is replaced, atomically."""
        os.replace(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory."""
        path.rmdir()


#: What stores use unless they are given another.
DISK = Disk()


def write_all(disk: Disk, descriptor: int, data: memoryview, offset: int) -> None:
    """Write `data` whole, in as many calls as it takes.

    Where direct writing turns out not to work (a stricter alignment, a short write that ends
    inside a page), the file is written through the page cache from there on.
    """
    while data:
        try:
            count = disk.pwrite(descriptor, data, offset)
        except OSError as error:
            if error.errno != errno.EINVAL or not _stop_direct(descriptor):
                raise
            continue
        data, offset = data[count:], offset + count


def write_file(disk: Disk, path: Path, data: bytes) -> None:
    """Write a small file and put its bytes on the disk, but not yet its name."""
    descriptor = disk.create(path)
    try:
        write_all(disk, descriptor, memoryview(data), 0)
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def _stop_direct(descriptor: int) -> bool:
    """Write through the page cache from now on; False where that is so already."""
    direct = getattr(os, "O_DIRECT", 0)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if not flags & direct:
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~direct)
    return True
