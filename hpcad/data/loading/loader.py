"""The loader: each rank's part of every global batch, read ahead in threads.

A loader holds one number of state, the cursor: how many samples all ranks together have consumed
since the very start. With the number of samples and the seed it gives the epoch, the position in
it and therefore everything that follows, at any number of ranks.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType

from hpcad.backend.protocol import Backend
from hpcad.backend.transfer import transfer
from hpcad.data.batch import Batch, local_part, plan
from hpcad.data.dataset import Dataset
from hpcad.data.loading.batch_reader import BatchReader, Read
from hpcad.data.loading.prefetch import ReadAhead
from hpcad.data.loading.stall import Stall
from hpcad.data.order.block_order import BlockOrder, BlockShuffle
from hpcad.data.order.global_order import GlobalOrder, Order
from hpcad.data.shards.descriptors import OPEN
from hpcad.errors import DataError


class Loader:
    """Iterates over a dataset in global batches, giving this rank's part of each.

    The arrays of a batch are the caller's for as long as they are kept: their memory is used for
    another batch only when nothing refers to it any longer, so a loop that keeps one batch at a
    time allocates nothing.

    Parameters
    ----------
    dataset
        What :func:`~hpcad.data.open_dataset` returned.
    batch_size
        Samples per batch on all ranks together. The last batch of an epoch may be smaller; no
        batch reaches into the next epoch, and no sample is dropped or repeated.
    seed, shuffle
        Of the :class:`~hpcad.data.GlobalOrder`, or of a :class:`~hpcad.data.BlockOrder`.
    order
        Another order, such as that of a :class:`~hpcad.data.Mixture`, instead.
    rank, size
        This rank and the number of ranks.
    cursor
        Samples that all ranks together have consumed before.
    prefetch
        Batches to read ahead, besides the one that was handed out; 0 reads when asked. With many
        of them, small ones are read several at a time.
    prefetch_bytes
        Their bytes, at most; one batch is read ahead whatever its size.
    readers
        Threads that read. More than two help where the storage answers late.
    backend
        Where the batches are used: on a GPU they are read into pinned memory, and the threads
        that read copy them to the device (not yet proven on a GPU).
    epochs
        Stop after this many epochs since the very start; ``None`` never stops.

    Attributes
    ----------
    cursor : int
        After the last batch handed out; save this to continue later.
    order : Order
    stall : Stall
        How long ``next()`` has waited, and how fast the data came.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool | BlockShuffle = True,
        order: Order | None = None,
        rank: int = 0,
        size: int = 1,
        cursor: int = 0,
        prefetch: int = 8,
        prefetch_bytes: int = 256 << 20,
        readers: int = 2,
        epochs: int | None = None,
        backend: Backend | None = None,
    ) -> None:
        _check(batch_size, rank, size)
        _check_least(0, cursor=cursor, prefetch=prefetch, epochs=epochs or 0)
        _check_least(1, prefetch_bytes=prefetch_bytes, readers=readers)
        self.dataset = dataset
        self.batch_size = batch_size
        self.cursor = cursor
        self.stall = Stall()
        self.order = order or _order(len(dataset), seed, shuffle)
        self._plan = plan(self.order, batch_size, rank, size, cursor, epochs)
        first, last = local_part(batch_size, rank, size)
        self._reader = BatchReader(
            dataset,
            last - first,
            prefetch=prefetch,
            prefetch_bytes=prefetch_bytes,
            readers=readers,
            moving=transfer(backend),
        )
        self._ahead: ReadAhead[Sequence[Batch], list[Read | BaseException]] | None = None
        self._ready: deque[Read | BaseException] = deque()  # the rest of a group
        self._ended: BaseException | None = None
        self._process = os.getpid()
        self._counts = _counts(dataset)
        self._left = 0.0  # when the last batch was handed out

    @property
    def wait_seconds(self) -> float:
        """Seconds that ``next()`` has waited for data so far."""
        return self.stall.first_wait + self.stall.wait

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._process != os.getpid():
            raise DataError(
                "a loader was used in a forked process, where its threads do not exist; make the "
                "loader after the fork"
            )
        if self._ended is not None:
            raise self._ended
        came = time.perf_counter()
        try:
            found = self._next()
        except BaseException as error:
            self._ended = error
            raise
        if found is None:
            self._ended = StopIteration()
            raise self._ended
        self._account(found, came)
        self.cursor = found.batch.cursor
        return found.batch

    def close(self) -> None:
        """End the threads and let go of what they read ahead; may be called twice."""
        if self._ahead is not None and self._process == os.getpid():
            self._ahead.close()
        self._ahead = None
        self._ready.clear()
        if self._ended is None:
            self._ended = DataError("this loader is closed; make another one from its cursor")

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _next(self) -> Read | None:
        if not self._ready:
            self._ready.extend(self._next_group())
        found = self._ready.popleft() if self._ready else None
        if isinstance(found, BaseException):
            raise found
        return found

    def _next_group(self) -> list[Read | BaseException]:
        reader = self._reader
        if not reader.budget.jobs:
            batch = next(self._plan, None)
            return [] if batch is None else reader.read([batch])
        if self._ahead is None:
            self._ahead = ReadAhead(
                reader.groups(self._plan), reader.read, reader.size, reader.budget, "hpcad-loader"
            )
        return self._ahead.next() or []

    def _account(self, found: Read, came: float) -> None:
        stall, now = self.stall, time.perf_counter()
        if stall.steps:
            stall.compute += came - self._left
        stall.waited(now - came, sum(array.nbytes for array in found.batch.fields.values()))
        stall.reading += found.seconds
        reads, opens = _counts(self.dataset)
        stall.reads, stall.opens = reads - self._counts[0], opens - self._counts[1]
        self._left = now


def _counts(dataset: Dataset) -> tuple[int, int]:
    """Reads of a dataset so far, and files opened by this process."""
    return dataset.requests, OPEN.opens


def _order(n: int, seed: int, shuffle: bool | BlockShuffle) -> Order:
    if isinstance(shuffle, BlockShuffle):
        return BlockOrder(n, seed, shuffle.block, shuffle.window)
    return GlobalOrder(n, seed, shuffle)


def _check(batch_size: int, rank: int, size: int) -> None:
    if not 0 <= rank < size:
        raise DataError(f"rank {rank} does not exist among {size} ranks")
    if batch_size < size:
        raise DataError(
            f"a global batch of {batch_size} cannot be split over {size} ranks: every rank needs "
            f"a sample; set the batch size to at least {size}, or start fewer ranks"
        )


def _check_least(least: int, **counts: int) -> None:
    for name, count in counts.items():
        if count < least:
            raise DataError(f"{name} must be at least {least}, not {count}")
