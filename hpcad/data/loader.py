"""The loader: each rank's part of every global batch, read ahead in a thread.

A loader holds one number of state, the cursor: how many samples all ranks together have consumed
since the very start. With the number of samples and the seed it gives the epoch, the position in
it and therefore everything that follows, at any number of ranks.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

from hpcad.data.batch import Batch, batches
from hpcad.data.dataset import Dataset
from hpcad.data.order import GlobalOrder
from hpcad.errors import DataError


class Loader:
    """Iterates over a dataset in global batches, giving this rank's part of each.

    Parameters
    ----------
    dataset
        What :func:`~hpcad.data.open_dataset` returned.
    batch_size
        Samples per batch on all ranks together. The last batch of an epoch may be smaller; no
        batch reaches into the next epoch, and no sample is dropped or repeated.
    seed, shuffle
        Of the :class:`~hpcad.data.GlobalOrder`.
    rank, size
        This rank and the number of ranks.
    cursor
        Samples that all ranks together have consumed before.
    prefetch
        Batches to read ahead in a thread; 0 reads when asked.
    epochs
        Stop after this many epochs since the very start; ``None`` never stops.

    Attributes
    ----------
    cursor : int
        After the last batch handed out; save this to continue later.
    wait_seconds : float
        Time that ``next()`` has waited for data so far.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        size: int = 1,
        cursor: int = 0,
        prefetch: int = 2,
        epochs: int | None = None,
    ) -> None:
        _check(batch_size, rank, size, cursor, prefetch, epochs)
        self.dataset = dataset
        self.batch_size = batch_size
        self.cursor = cursor
        self.wait_seconds = 0.0
        order = GlobalOrder(len(dataset), seed, shuffle)
        self._batches = batches(dataset, order, batch_size, rank, size, cursor, epochs)
        self._stop = threading.Event()
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(max(prefetch, 1))
        self._prefetch = prefetch
        self._thread: threading.Thread | None = None
        self._ended: BaseException | None = None
        self._process = os.getpid()
        # The thread knows the queue and the event, not the loader, so a forgotten loader is freed
        # and its thread told to end.
        weakref.finalize(self, self._stop.set)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._process != os.getpid():
            raise DataError(
                "a loader was used in a forked process, where its thread does not exist; make the "
                "loader after the fork"
            )
        if self._ended is not None:
            raise self._ended
        started = time.perf_counter()
        item = self._next_ready() if self._prefetch else _read_one(self._batches)
        self.wait_seconds += time.perf_counter() - started
        if isinstance(item, Batch):
            self.cursor = item.cursor
            return item
        self._ended = StopIteration() if item is None else item
        raise self._ended

    def close(self) -> None:
        """End the thread and let go of what it read ahead; may be called twice."""
        self._stop.set()
        if self._thread is not None and self._process == os.getpid():
            with suppress(queue.Empty):  # make room, so that the thread does not wait for any
                while True:
                    self._ready.get_nowait()
            self._thread.join()
        self._thread = None
        self._batches = iter(())
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

    def _next_ready(self) -> Batch | BaseException | None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=_read_ahead,
                args=(self._batches, self._ready, self._stop),
                name="hpcad-loader",
                daemon=True,
            )
            self._thread.start()
        return self._ready.get()


def _check(
    batch_size: int, rank: int, size: int, cursor: int, prefetch: int, epochs: int | None
) -> None:
    if not 0 <= rank < size:
        raise DataError(f"rank {rank} does not exist among {size} ranks")
    if batch_size < size:
        raise DataError(
            f"a global batch of {batch_size} cannot be split over {size} ranks: every rank needs "
            f"a sample; set the batch size to at least {size}, or start fewer ranks"
        )
    if cursor < 0 or prefetch < 0 or (epochs is not None and epochs < 0):
        raise DataError(
            f"cursor, prefetch and epochs must not be negative (they are {cursor}, {prefetch}, "
            f"{epochs})"
        )


def _read_one(source: Iterator[Batch]) -> Batch | BaseException | None:
    """The next batch, None at the end, or the error that came instead."""
    try:
        return next(source, None)
    except BaseException as error:  # noqa: BLE001 - next() raises it again, with its traceback
        return error


def _read_ahead(
    source: Iterator[Batch],
    ready: queue.Queue[Batch | BaseException | None],
    stop: threading.Event,
) -> None:
    """Body of the thread: puts batches, and last what ended them."""
    while not stop.is_set():
        item = _read_one(source)
        while not stop.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                break
        if not isinstance(item, Batch):
            return
