"""One number for the contents of a directory: names, kinds, modes of files, and every byte."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_BLOCK = 1 << 20


class Digest:
    """BLAKE2b of files by their names, in the order in which they are added."""

    def __init__(self) -> None:
        self._whole = hashlib.blake2b(digest_size=20)

    def add(self, name: str, found: os.stat_result, content: str) -> None:
        """A file, link or directory; ``content`` is the target of a link, or `file_digest`."""
        executable = stat.S_ISREG(found.st_mode) and bool(found.st_mode & stat.S_IXUSR)
        what = f"{name}\0{stat.S_IFMT(found.st_mode)} {executable} {content}\0"
        self._whole.update(what.encode("utf-8", "surrogateescape"))

    def __str__(self) -> str:
        return self._whole.hexdigest()


class Hashed:
    """A file that is read once, and whose digest is known then."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.blake2b(digest_size=20)

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self._hash.update(data)
        return data

    def __str__(self) -> str:
        return self._hash.hexdigest()


def digest_of(files: Iterable[tuple[str, Path]]) -> str:
    """The digest of what lies on a disk; see `.contents.Contents.files`."""
    whole = Digest()
    for name, path in files:
        found = os.lstat(path)
        content = ""
        if stat.S_ISLNK(found.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(found.st_mode):
            content = _file(path)
        whole.add(name, found, content)
    return str(whole)


def state_of(files: Iterable[tuple[str, Path]]) -> str:
    """The same of names, sizes and times only, which is quick: whether they have changed."""
    whole = hashlib.blake2b(digest_size=20)
    for name, path in files:
        found = os.lstat(path)
        # Directories change when Python writes what it compiled.
        times = () if stat.S_ISDIR(found.st_mode) else (found.st_size, found.st_mtime_ns)
        whole.update(f"{name}\0{found.st_mode}{times}\0".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def room_of(files: Iterable[tuple[str, Path]], block: int = 4096) -> int:
    """Bytes that they take on a disk."""
    sizes = (os.lstat(path).st_size for _, path in files)
    return sum(-(-size // block) * block + block for size in sizes)


def _file(path: Path) -> str:
    with path.open("rb") as file:
        hashed = Hashed(file)
        while hashed.read(_BLOCK):
            pass
    return str(hashed)
