"""A tar stream from rank 0 to the first ranks of all nodes, unpacked while it arrives.

Whoever cannot unpack any more goes on receiving, because the others do; what went wrong is said
when the stream has ended.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from hpcad.errors import LaunchError
from hpcad.launch.environment.contents import is_lasting
from hpcad.launch.environment.digest import Digest, Hashed
from hpcad.launch.environment.group import Group

CHUNK = 16 << 20  # bytes


class _Sender:
    """Where rank 0 writes the stream: to the others, and into a pipe for its own copy."""

    def __init__(self, group: Group, pipe: IO[bytes] | None) -> None:
        self._group, self._pipe = group, pipe
        self._buffer = bytearray()

    def write(self, data: bytes) -> int:
        self._buffer += data
        while len(self._buffer) >= CHUNK:
            self._send(bytes(self._buffer[:CHUNK]))
            del self._buffer[:CHUNK]
        return len(data)

    def end(self) -> None:
        if self._buffer:
            self._send(bytes(self._buffer))
        self._group.broadcast(b"")
        if self._pipe is not None:
            self._pipe.close()

    def _send(self, chunk: bytes) -> None:
        self._group.broadcast(chunk)
        if self._pipe is not None:
            self._pipe.write(chunk)


class _Receiver:
    """Where the others read it."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._chunk = io.BytesIO()
        self._ended = False

    def read(self, count: int) -> bytes:
        """At most so many bytes, as of a pipe; none at the end."""
        data = self._chunk.read(count)
        while not data and not self._ended:
            self._take()
            data = self._chunk.read(count)
        return data

    def drain(self) -> None:
        """Receive what is left, without use for it."""
        while not self._ended:
            self._take()

    def _take(self) -> None:
        chunk = self._group.broadcast(None)
        self._ended = not chunk
        self._chunk = io.BytesIO(chunk)


def send(group: Group, files: Sequence[tuple[str, Path]], folder: Path | None) -> str:
    """Pack files, send them, and unpack them here too. On rank 0; the others call `receive`.

    Parameters
    ----------
    folder : Path or None
        None where this node needs no copy.

    Returns
    -------
    digest : str
        Of what was sent, without what Python compiled.

    Raises
    ------
    OSError, LaunchError
        Something could not be read, or written here. The stream is ended all the same.
    """
    if folder is None:
        return _pack(_Sender(group, None), files)
    read_end, write_end = os.pipe()
    unpacker = _Unpacker(read_end, folder)
    try:
        digest = _pack(_Sender(group, os.fdopen(write_end, "wb")), files)
    finally:
        unpacker.join()
    if unpacker.problem is not None:
        raise _told(unpacker.problem, folder)
    return digest


def receive(group: Group, folder: Path | None) -> None:
    """Unpack what rank 0 sends.

    Raises
    ------
    LaunchError
        It could not be written. The stream was received to its end all the same.
    """
    receiver = _Receiver(group)
    try:
        if folder is not None:
            _unpack(cast(Any, receiver), folder)
    except (OSError, tarfile.TarError) as error:
        raise _told(error, folder) from error
    finally:
        receiver.drain()


class _Unpacker(threading.Thread):
    """Unpacks rank 0's own copy beside the sending, which is the main thread's."""

    def __init__(self, read_end: int, folder: Path) -> None:
        super().__init__(name="unpacking")
        self._read_end, self._folder = read_end, folder
        self.problem: OSError | tarfile.TarError | None = None
        self.start()

    def run(self) -> None:
        with os.fdopen(self._read_end, "rb") as pipe:
            try:
                _unpack(pipe, self._folder)
            except (OSError, tarfile.TarError) as error:
                self.problem = error
            while pipe.read(CHUNK):  # else the other end would block
                pass


def _pack(sender: _Sender, files: Sequence[tuple[str, Path]]) -> str:
    """Send files; the digest of what was read, which is read only once."""
    digest = Digest()
    try:
        with tarfile.open(fileobj=cast(Any, sender), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name, path in files:
                found = os.lstat(path)
                content = _add(tar, name, path, found)
                if is_lasting(name):
                    digest.add(name, found, content)
    finally:
        sender.end()
    return str(digest)


def _add(tar: tarfile.TarFile, name: str, path: Path, found: os.stat_result) -> str:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = stat.S_IMODE(found.st_mode), found.st_mtime
    if stat.S_ISLNK(found.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
        info.mode |= stat.S_IRWXU  # else nothing could be unpacked below it
    elif stat.S_ISREG(found.st_mode):
        info.size = found.st_size
        with path.open("rb") as file:
            hashed = Hashed(file)
            tar.addfile(info, cast(Any, hashed))
        return str(hashed)
    else:
        raise LaunchError(f"{path} is no file, directory or link, and cannot be copied")
    tar.addfile(info)
    return info.linkname


def _unpack(stream: IO[bytes], folder: Path) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            member.uid = member.gid = -1  # this user's
            tar.extract(member, folder, filter=_as_it_is)


def _as_it_is(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """Links to places outside, such as the interpreter, are meant; names that leave are not."""
    if os.path.isabs(member.name) or ".." in Path(member.name).parts:
        raise tarfile.OutsideDestinationError(member, path)
    return member


def _told(error: BaseException, folder: Path | None) -> LaunchError:
    return LaunchError(f"the environment could not be unpacked in {folder}: {error}")
