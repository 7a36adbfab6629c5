"""Where compiled libraries are kept, and how a damaged one is noticed."""

from __future__ import annotations

import functools
import os
import stat
import tempfile
from pathlib import Path

import xxhash

_MARK = b"hpcad-so"  # ends a library, before the checksum of all bytes before the mark
_TRAILER = len(_MARK) + 8


def cache_directory() -> Path:
    """``HPCAD_CACHE_DIR``, else ``XDG_CACHE_HOME/hpcad``, else ``~/.cache/hpcad``.

    Where code cannot be written and run there, a directory under the temporary one, which lasts
    as long as the process.
    """
    return _directory(os.environ.get("HPCAD_CACHE_DIR", ""), os.environ.get("XDG_CACHE_HOME", ""))


@functools.cache
def _directory(own: str, caches: str) -> Path:
    home = os.path.expanduser("~")
    wanted = Path(own) if own else Path(caches or os.path.join(home, ".cache"), "hpcad")
    if _usable(wanted):
        return wanted
    temporary = tempfile.TemporaryDirectory(prefix="hpcad-cache-")
    _temporaries.append(temporary)
    return Path(temporary.name)


_temporaries: list[tempfile.TemporaryDirectory] = []  # removed at exit


def _usable(directory: Path) -> bool:
    """Whether libraries can be written there, and loaded: some sites mount homes ``noexec``."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return not os.statvfs(directory).f_flag & os.ST_NOEXEC
    except OSError:
        return False


def seal(library: Path) -> None:
    """Append a checksum. Loaders ignore what follows the last section of a library.

    It is in the file itself so that a rename replaces both at once.
    """
    with library.open("r+b") as file:
        body = file.read()
        file.write(_MARK + xxhash.xxh3_64_digest(body))


def intact(library: Path) -> bool:
    """Whether the file is there, is whole, and nobody else's who could have put code into it."""
    return content(library) is not None


def content(library: Path) -> bytes | None:
    """What was in the file before it was sealed; None where it is not :func:`intact`."""
    try:
        with library.open("rb") as file:
            owner = os.fstat(file.fileno()).st_uid
            sealed = file.read()
    except OSError:
        return None
    body, trailer = sealed[:-_TRAILER], sealed[-_TRAILER:]
    whole = owner in (os.getuid(), 0) and trailer == _MARK + xxhash.xxh3_64_digest(body)
    return body if whole else None


# -- locks that live on this node ---------------------------------------------------------------


def lock_directory(root: Path | None = None) -> Path | None:
    """A directory of this user on this node; ``None`` where there is none that can be trusted.

    Locks of network file systems can hang or do nothing, and the cache often lies on one.

    Parameters
    ----------
    root : Path, optional
        ``/tmp``, which no node shares with another; else the directory of temporary files.
    """
    if root is None:
        root = Path("/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir())
    directory = root / f"hpcad-{os.getuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return directory if ours and not status.st_mode & 0o077 else None
