"""The same few batches again and again, from memory: what a training costs that reads nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hpcad.data.batch import Batch
from hpcad.data.loading.loader import Loader
from hpcad.data.loading.stall import Stall


class RepeatedBatches:
    """Iterates over the first batches of a loader, without end; stands in for it.

    Parameters
    ----------
    loader : Loader
        Closed when its first batches are read.
    count : int
        Batches to keep. Fewer are kept where an epoch has fewer full ones.

    Attributes
    ----------
    stall : Stall
        As a loader's.
    """

    def __init__(self, loader: Loader, count: int) -> None:
        self.stall = Stall()
        self._loader, self._cursor = loader, loader.cursor
        self._kept = self._first(count)
        loader.close()
        self._next = 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        came = time.perf_counter()
        batch = self._kept[self._next % len(self._kept)]
        self._next += 1
        self._cursor += batch.global_size
        found = replace(batch, cursor=self._cursor, last_in_epoch=False)
        self.stall.waited(time.perf_counter() - came, 0)
        return found

    def __enter__(self) -> RepeatedBatches:
        return self

    def __exit__(self, *error: Any) -> None:
        self._loader.close()

    def _first(self, count: int) -> list[Batch]:
        kept = [next(self._loader)]
        while len(kept) < count:
            batch = next(self._loader, None)
            if batch is None or batch.global_size < kept[0].global_size:
                break
            kept.append(batch)
        return kept
