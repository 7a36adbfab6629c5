"""Moving the bytes of a stage: from the shared file system, around the rings, to each node.

A thread reads the next piece and another one writes the last ones, while the thread that calls
passes pieces on: messages belong to the thread that initialised MPI. A piece that travels carries
its checksum from where it was read, and is compared before it is written.

Errors do not stop a rank, for its neighbours would wait for it for ever: it goes on passing pieces
and tells at the end.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from hpcad.data.staging.plan import PIECE_BYTES, Piece
from hpcad.data.staging.record import PART
from hpcad.errors import DataError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator

_HASH = 8  # bytes of XXH3-64 behind each piece
_TAG = 8077
_PASSING = 3  # buffers: one arrives, one leaves, one is written


class Transfer:
    """Copies pieces together with the other ranks of a ring.

    Parameters
    ----------
    communicator : Communicator
    ring : sequence of int
        The ranks of this one's ring, this one among them.
    source, target : Path
        Directories: of the dataset, and of the copy on this node.
    names : sequence of str
        Of the files.
    most : int
        Bytes of a piece, at most.

    Attributes
    ----------
    read_bytes : int
        What this rank has read from the source.
    """

    def __init__(
        self,
        communicator: Communicator,
        ring: Sequence[int],
        source: Path,
        target: Path,
        names: Sequence[str],
        most: int = PIECE_BYTES,
    ) -> None:
        self.read_bytes = 0
        self._communicator, self._ring = communicator, list(ring)
        # A rank without a ring has no turns either.
        self._me = self._ring.index(communicator.rank) if self._ring else 0
        self._names = names
        self._from = _Files(source, os.O_RDONLY)
        self._into = _Files(target, os.O_WRONLY | os.O_CREAT)
        self._own = [_Buffer(most) for _ in range(2)]
        self._passing = [_Buffer(most) for _ in range(_PASSING)] if len(self._ring) > 1 else []
        self._reader = ThreadPoolExecutor(1, "hpcad-stage-read")
        self._writer = ThreadPoolExecutor(1, "hpcad-stage-write")
        self._error: DataError | None = None
        self._wanted: set[int] = set()

    def __enter__(self) -> Transfer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for threads in (self._reader, self._writer):
            threads.shutdown(wait=True, cancel_futures=True)
        self._from.close()
        self._into.close()

    def copy(self, turns: Sequence[Sequence[Piece]], wanted: Iterable[int]) -> DataError | None:
        """Copy the pieces of all turns; of files that are not wanted here, nothing is written.

        Returns
        -------
        DataError or None
            What went wrong on this rank.
        """
        self._error, self._wanted = None, set(wanted)
        ahead = self._read_ahead(turns, 0)
        for number, turn in enumerate(turns):
            own, coming = ahead, self._read_ahead(turns, number + 1)
            own.result()
            self._pass_on(turn, self._own[number % 2])
            ahead = coming
        for buffer in (*self._own, *self._passing):
            buffer.wait()
        self._into.close()
        self._from.close()
        return self._error

    def _read_ahead(self, turns: Sequence[Sequence[Piece]], number: int) -> Future[None]:
        buffer = self._own[number % 2]
        turn = turns[number] if number < len(turns) else []
        if self._me >= len(turn):
            return self._reader.submit(lambda: None)
        buffer.wait()
        return self._reader.submit(self._read, turn[self._me], buffer)

    def _pass_on(self, turn: Sequence[Piece], buffer: _Buffer) -> None:
        """Send one's own piece around, and what arrives from the others."""
        n, me = len(self._ring), self._me
        behind, before = self._ring[(me + 1) % n], self._ring[(me - 1) % n]
        for step in range(n):
            piece = _at(turn, (me - step) % n)
            if piece is not None and piece.file in self._wanted:
                buffer.pending = self._writer.submit(self._write, piece, buffer, step > 0)
            if step == n - 1:
                return
            arriving = self._passing[step % _PASSING]
            arriving.wait()
            coming = _at(turn, (me - step - 1) % n)
            self._communicator.sendrecv(
                buffer.message(piece), behind, arriving.message(coming), before, _TAG, name="stage"
            )
            buffer = arriving

    # -- in threads --------------------------------------------------------------------------------

    def _read(self, piece: Piece, buffer: _Buffer) -> None:
        name = self._names[piece.file]
        data = buffer.memory.data[: piece.length]
        try:
            descriptor, done = self._from.open(name), 0
            while done < piece.length:
                count = os.preadv(descriptor, [data[done:]], piece.offset + done)
                if not count:
                    raise OSError(0, "it ends too early; was it cut short meanwhile?")
                done += count
            self.read_bytes += done
        except OSError as error:
            self._fail(f"{self._from.folder / name}: cannot be read ({error.strerror})")
        if len(self._ring) > 1:
            buffer.seal(piece)

    def _write(self, piece: Piece, buffer: _Buffer, arrived: bool) -> None:
        name = self._names[piece.file]
        if self._error is not None:
            return
        if arrived and not buffer.is_whole(piece):
            self._fail(
                f"{name}: bytes {piece.offset} to {piece.offset + piece.length} were damaged on "
                f"their way to {socket.gethostname()}; the network or a memory is faulty"
            )
            return
        data, done = buffer.memory.data[: piece.length], 0
        try:
            descriptor = self._into.open(name + PART)
            while done < piece.length:
                done += os.pwrite(descriptor, data[done:], piece.offset + done)
        except OSError as error:
            self._fail(
                f"{self._into.folder / name}: cannot be written ({error.strerror}); choose another "
                "place for the stage, or make room there"
            )

    def _fail(self, message: str) -> None:
        self._error = self._error or DataError(message)


class _Buffer:
    """Memory for a piece and its checksum, and whoever is still writing it to a file."""

    def __init__(self, most: int) -> None:
        self.memory = np.empty(most + _HASH, np.uint8)
        self.pending: Future[None] | None = None

    def wait(self) -> None:
        """Return when the memory can be used again."""
        if self.pending is not None:
            self.pending.result()
            self.pending = None

    def message(self, piece: Piece | None) -> np.ndarray:
        """The part of the memory that travels; nothing if there is no piece."""
        return self.memory[: 0 if piece is None else piece.length + _HASH]

    def seal(self, piece: Piece) -> None:
        """Put the checksum behind the piece."""
        self.memory[piece.length : piece.length + _HASH] = np.frombuffer(self._hash(piece), "u1")

    def is_whole(self, piece: Piece) -> bool:
        """Whether the piece is the one that was sealed."""
        return self.memory[piece.length : piece.length + _HASH].tobytes() == self._hash(piece)

    def _hash(self, piece: Piece) -> bytes:
        return xxhash.xxh3_64_digest(self.memory.data[: piece.length])


class _Files:
    """The file that was used last, open: pieces of one file follow one another."""

    def __init__(self, folder: Path, flags: int) -> None:
        self.folder = folder
        self._flags = flags | os.O_CLOEXEC
        self._name, self._descriptor = "", -1

    def open(self, name: str) -> int:
        if name != self._name:
            self.close()
            self._descriptor = os.open(self.folder / name, self._flags, 0o600)
            self._name = name
        return self._descriptor

    def close(self) -> None:
        if self._name:
            os.close(self._descriptor)
            self._name = ""


def _at(turn: Sequence[Piece], member: int) -> Piece | None:
    return turn[member] if member < len(turn) else None
