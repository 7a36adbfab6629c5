"""Open what a checkpoint consists of, as if its author were an enemy.

No symbolic links where a manifest names a file, no pipes or devices, no locks, no waiting; sizes
are asked of the open file. Every error that leaves :func:`naming` names the checkpoint and says
whether it is damaged or only out of reach.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash

from hpcad.checkpoint.format import DamagedCheckpointError
from hpcad.errors import CheckpointError

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_OUT_OF_REACH = {
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ETIMEDOUT,
}
_CHUNK = 1 << 23  # what was read is in the cache when it is hashed
_LONGEST = 300  # characters of a reason: a damaged file can put anything there


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name `path` in every error that leaves the block, which is a `CheckpointError` from there on.

    Raises
    ------
    DamagedCheckpointError
        For one, for an `OSError` such as a read error of the disk, and for a `ValueError`.
    CheckpointError
        For another one, and where permission, memory or descriptors are lacking: an older
        checkpoint would be read no better.
    """
    try:
        yield
    except DamagedCheckpointError as error:
        raise _damaged(path, error) from error
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path} {error}") from error
    except MemoryError as error:
        raise CheckpointError(f"checkpoint {path} does not fit into memory") from error
    except OSError as error:
        if error.errno in _OUT_OF_REACH:
            raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error
        raise _damaged(path, error) from error
    except (ValueError, OverflowError) as error:
        raise _damaged(path, error) from error


def open_file(name: str | Path, folder: int | None = None) -> tuple[int, int]:
    """Open a regular file for reading; return its descriptor and its size in bytes.

    Parameters
    ----------
    name
        Of the file, in the directory that is open as `folder`.

    Raises
    ------
    DamagedCheckpointError
        It does not exist, or is no regular file (a symbolic link, a pipe, a directory).
    OSError
        It may not be read.
    """
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its writer.
        descriptor = os.open(name, _FLAGS, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise DamagedCheckpointError(f"{_last(name)} is a symbolic link") from error
        if error.errno in (errno.ENOENT, errno.ENXIO):
            raise DamagedCheckpointError(f"{_last(name)} is missing") from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise DamagedCheckpointError(f"{_last(name)} is not a regular file")
    return descriptor, status.st_size


def read_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Fill `data` with the bytes of a file from `offset` on."""
    while data:
        count = os.preadv(descriptor, [data[:_CHUNK]], offset)
        if count == 0:
            raise DamagedCheckpointError(f"a file ends at byte {offset}: it was truncated")
        data, offset = data[count:], offset + count


def read_range(descriptor: int, offset: int, count: int, out: memoryview, begin: int = 0) -> str:
    """Read `count` bytes of a file, keep some of them, and return the checksum of all.

    Parameters
    ----------
    offset
        Of the first byte in the file.
    out
        Filled with the bytes from `begin` (counted from `offset`) on; it may be empty.

    Notes
    -----
    Memory for what is not kept is bounded: a chunk of 8 MiB.
    """
    digest = xxhash.xxh3_128()
    end = begin + len(out)
    scratch: memoryview | None = None
    for at in range(0, count, _CHUNK):
        length = min(_CHUNK, count - at)
        if begin <= at and at + length <= end:
            chunk = out[at - begin : at - begin + length]
            read_at(descriptor, chunk, offset + at)
        else:
            scratch = scratch or memoryview(bytearray(min(_CHUNK, count)))
            chunk = scratch[:length]
            read_at(descriptor, chunk, offset + at)
            first, last = max(begin, at), min(end, at + length)
            if first < last:
                out[first - begin : last - begin] = chunk[first - at : last - at]
        digest.update(chunk)
    return digest.hexdigest()


def check_memory(nbytes: int) -> None:
    """Refuse what this machine cannot hold, before the system kills the program for it.

    A sparse file of terabytes costs its author nothing.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if nbytes > memory:
        raise CheckpointError(
            f"needs {nbytes / 1e9:.1f} GB and this machine has {memory / 1e9:.1f} GB: "
            "read fewer arrays, or only slices of them"
        )


def _damaged(path: Path, error: Exception) -> DamagedCheckpointError:
    reason = " ".join(str(error).split()) or type(error).__name__
    if len(reason) > _LONGEST:
        reason = f"{reason[:_LONGEST]}..."
    return DamagedCheckpointError(
        f"checkpoint {path} is damaged: {reason}; use an older one or a copy"
    )


def _last(name: str | Path) -> str:
    return repr(os.path.basename(name))
