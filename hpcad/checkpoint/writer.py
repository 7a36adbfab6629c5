"""Write one checkpoint: beside its final name, to the disk, then renamed.

A reader sees the old directory or the new one, never anything between: the bytes are on the disk
(`fsync`) before the rename makes them visible, and the rename is on the disk (`fsync` of the
directory) before the caller deletes anything older.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hpcad import __version__
from hpcad.checkpoint.format import (
    CHECKSUM,
    FORMAT,
    STORED_DTYPES,
    check_names,
    checksum,
    encode_state,
    raw_bytes,
)
from hpcad.checkpoint.format_v1 import VERSION, ArraySpec, Manifest, file_name
from hpcad.checkpoint.skeleton import build_skeleton
from hpcad.errors import CheckpointError

_CHUNK = 1 << 28  # Linux moves at most 2 GiB - 4 KiB per call
_STALE_SECONDS = 3600.0


def write_checkpoint(
    directory: Path, step: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> Path:
    """Write the checkpoint of `step` and return its path.

    Parameters
    ----------
    directory
        Where checkpoints lie; it exists.
    arrays
        Name -> array of any shape, with a dtype of integers, floats or bool.
    state
        JSON values.

    Raises
    ------
    CheckpointError
        A name, a dtype or the state cannot be stored; nothing was written.
    OSError
        The file system refused; the temporary file is gone, older checkpoints are as they were.
    """
    check_names(list(arrays))
    stored = {name: _storable(name, array) for name, array in arrays.items()}
    state_text = encode_state(state).encode()
    manifest = _manifest(step, stored, state_text).encode()
    target = directory / file_name(step)
    temporary = directory / f".{target.name}.tmp-{_owner()}-{secrets.token_hex(4)}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _write_content(descriptor, stored, state_text, manifest)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    fsync_directory(directory)
    return target


def fsync_directory(directory: Path) -> None:
    """Put the entries of `directory` on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def leftovers(directory: Path) -> list[Path]:
    """Return the temporary files that runs which were killed left in `directory`.

    A file counts as left over when the process in its name is gone from this host (or is this
    process, between two saves), or when nothing was written to it for an hour.
    """
    found = []
    for path in directory.glob(".step-*.h5.tmp-*"):
        host, _, rest = path.name.partition(".tmp-")[2].rpartition("-")[0].rpartition("-")
        with contextlib.suppress(OSError):
            idle = time.time() - path.stat().st_mtime
            if idle > _STALE_SECONDS or (host == _host() and not _runs_elsewhere(rest)):
                found.append(path)
    return found


def _runs_elsewhere(pid: str) -> bool:
    """Whether `pid` is a live process of this host other than this one."""
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _owner() -> str:
    return f"{_host()}-{os.getpid()}"


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    """Return `array` contiguous and little-endian; a copy only where it was not."""
    array = np.asarray(array)
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in STORED_DTYPES:
        raise CheckpointError(
            f"array {name!r} has dtype {array.dtype}, which a checkpoint cannot store: "
            "use bool, integers or floats (a complex array as its real and imaginary part)"
        )
    # ascontiguousarray would turn a 0-d array into a 1-d one.
    return np.asarray(array, dtype=dtype, order="C")


def _manifest(step: int, stored: Mapping[str, np.ndarray], state_text: bytes) -> Manifest:
    return Manifest(
        step=step,
        arrays=tuple(
            ArraySpec(name, array.dtype.str, array.shape, checksum(raw_bytes(array)))
            for name, array in stored.items()
        ),
        state_bytes=len(state_text),
        state_checksum=checksum(state_text),
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        host=_host(),
        hpcad=__version__,
    )


def _write_content(
    descriptor: int, stored: Mapping[str, np.ndarray], state_text: bytes, manifest: bytes
) -> None:
    contents = {"manifest": memoryview(manifest), "state": memoryview(state_text)}
    contents |= {f"arrays/{name}": raw_bytes(array) for name, array in stored.items()}
    datasets: dict[str, tuple[str, tuple[int, ...]]] = {
        "manifest": ("|u1", (len(manifest),)),
        "state": ("|u1", (len(state_text),)),
    }
    datasets |= {
        f"arrays/{name}": (STORED_DTYPES[array.dtype.str], array.shape)
        for name, array in stored.items()
    }
    attributes: dict[str, dict[str, str | int]] = {
        "/": {"format": FORMAT, "version": VERSION},
        "manifest": {CHECKSUM: checksum(manifest)},
    }
    skeleton = build_skeleton(datasets, attributes)
    os.ftruncate(descriptor, skeleton.image.size)
    # Pages of the image may reach into an array's first bytes: they come first.
    for offset, data in skeleton.image.extents():
        _write_at(descriptor, memoryview(data), offset)
    for path, offset in skeleton.offsets.items():
        _write_at(descriptor, contents[path], offset)


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data[:_CHUNK], offset)
        data, offset = data[count:], offset + count
