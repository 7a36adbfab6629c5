"""Write one part: fill a block, hash it, and write it while the next is filled and hashed.

The bytes of a part pass through memory as few times as can be: a block is hashed when it has just
been filled, and written past the page cache where that works. Filling, hashing and writing hold
no interpreter lock, so that two threads do them at the same time, beside the training.
"""

from __future__ import annotations

import contextlib
import mmap
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import xxhash

from hpcad.checkpoint.disk import PAGE, Disk, write_all
from hpcad.checkpoint.saving.part_layout import PartLayout

BLOCK = 8 << 20  # bytes; a block that was just filled is still in the cache when it is hashed
#: Blocks that may wait for the disk, so that it goes on when the thread that fills them cannot run.
_AHEAD = 3

Block = tuple[int, np.ndarray]  # offset in the file, bytes
Inspect = Callable[[int, np.ndarray], None]


@dataclass(frozen=True)
class Written:
    """What became of a part: its length, the checksum of every piece, and the seconds it took."""

    bytes: int
    checksums: tuple[str, ...]
    seconds: float


def page_aligned(size: int) -> np.ndarray:
    """Return `size` zeroed bytes of memory that begin at a page, as direct writes need it."""
    memory = mmap.mmap(-1, max(size, PAGE))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # The first touch of a huge page costs one fault instead of 512.
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8, size)


class Ring:
    """Blocks of memory to stream through, kept between saves: fresh memory is slow to touch."""

    def __init__(self) -> None:
        self._memory = page_aligned(0)

    def blocks(self, size: int) -> list[np.ndarray]:
        """Return so many blocks that a part of `size` bytes can be streamed.

        One is being written, `_AHEAD` wait for that, and one is being filled.
        """
        count = min(_AHEAD + 2, -(-size // BLOCK))
        if len(self._memory) < count * BLOCK:
            self._memory = page_aligned(count * BLOCK)
        return [self._memory[i * BLOCK : (i + 1) * BLOCK] for i in range(count)]


def streamed(layout: PartLayout, sources: Sequence[np.ndarray], ring: Ring) -> Iterator[Block]:
    """Fill the blocks of a part one after the other, in little memory."""
    blocks = ring.blocks(layout.size)
    for number, begin in enumerate(range(0, layout.size, BLOCK)):
        end = min(begin + BLOCK, layout.size)
        block = blocks[number % len(blocks)][: end - begin]
        layout.fill(sources, begin, end, block)
        yield begin, block


def copied(image: np.ndarray) -> Iterator[Block]:
    """Yield the blocks of a part that lies in memory as a whole."""
    for begin in range(0, len(image), BLOCK):
        yield begin, image[begin : begin + BLOCK]


def write_part(disk: Disk, path: Path, layout: PartLayout, blocks: Iterator[Block]) -> Written:
    """Write a part and put it on the disk.

    Parameters
    ----------
    disk : Disk
    path : Path
        Must not be there.
    layout : PartLayout
    blocks : iterator
        From :func:`streamed` or :func:`copied`.

    Raises
    ------
    OSError
        The file may be there, unfinished.
    """
    began = time.perf_counter()
    hashes = _Hashes(layout)
    descriptor = disk.create(path, direct=True)
    try:
        with _Writer(disk, descriptor) as writer:
            for offset, block in blocks:
                # Hashed before it is handed over, while the block before it is being written.
                hashes.update(offset, block)
                writer.put(offset, block)
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    return Written(layout.size, hashes.digests(), time.perf_counter() - began)


class _Hashes:
    """The checksums of all pieces of a part, whose bytes come in file order."""

    def __init__(self, layout: PartLayout) -> None:
        self._layout = layout
        self._states = [xxhash.xxh3_128() for _ in layout.pieces]

    def update(self, offset: int, block: np.ndarray) -> None:
        end = offset + len(block)
        for extent in self._layout.within(offset, end):
            first, last = max(offset, extent.begin), min(end, extent.end)
            self._states[extent.piece].update(block[first - offset : last - offset].data)

    def digests(self) -> tuple[str, ...]:
        return tuple(state.hexdigest() for state in self._states)


class _Writer:
    """A thread that writes blocks, so that others can be prepared meanwhile."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        self._disk, self._descriptor = disk, descriptor
        self._blocks: queue.Queue[Block | None] = queue.Queue(maxsize=_AHEAD)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="checkpoint part", daemon=True)

    def put(self, offset: int, block: np.ndarray) -> None:
        """Hand over a block; waits while too many of them are not written yet."""
        self._blocks.put((offset, block))
        if self._error is not None:
            raise self._error

    def __enter__(self) -> _Writer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._blocks.put(None)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._blocks.get()) is not None:
            if self._error is not None:
                continue  # the other side must not wait for ever
            try:
                write_all(self._disk, self._descriptor, item[1].data, item[0])
            except Exception as error:  # noqa: BLE001  (raised where the blocks come from)
                self._error = error
