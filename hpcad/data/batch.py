"""Batches: which samples of a global batch a rank gets, and the sequence of all batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hpcad.data.order.global_order import Order

# The order of a small dataset is computed this many positions at a time, because the cost of a
# NumPy call does not pay for a few dozen.
_ORDER_BLOCK = 8192


@dataclass(frozen=True)
class Batch:
    """This rank's part of one global batch.

    Attributes
    ----------
    fields : dict of str to numpy.ndarray
        Arrays of shape ``(n, *shape)``; n may differ between ranks by one, and may be 0.
    ids : numpy.ndarray
        Global sample numbers of these n samples, int64.
    global_size : int
        Samples on all ranks together.
    local_offset : int
        Place of the first of these samples in the global batch.
    epoch, step_in_epoch : int
        Where in the run this batch is, both from 0.
    cursor : int
        Samples consumed by all ranks together once this batch is done.
    last_in_epoch : bool
        Whether the epoch ends with this batch.
    """

    fields: dict[str, np.ndarray]
    ids: np.ndarray
    global_size: int
    local_offset: int
    epoch: int
    step_in_epoch: int
    cursor: int
    last_in_epoch: bool

    def filled(self, fields: dict[str, np.ndarray]) -> Batch:
        """This batch with its fields."""
        return replace(self, fields=fields)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.fields[name]

    def __len__(self) -> int:
        return len(self.ids)


def local_part(count: int, rank: int, size: int) -> tuple[int, int]:
    """First and last-plus-one of ``count`` things that ``rank`` of ``size`` ranks gets.

    Parts are contiguous in rank order and differ by at most one; the first ranks get the larger.
    """
    small, larger = divmod(count, size)
    start = rank * small + min(rank, larger)
    return start, start + small + (rank < larger)


def plan(
    order: Order,
    batch_size: int,
    rank: int,
    size: int,
    cursor: int,
    epochs: int | None,
) -> Iterator[Batch]:
    """All batches from ``cursor`` on, with their ids and empty dicts of fields: nothing is read."""
    ids_at = _BlockedOrder(order, batch_size)
    while epochs is None or cursor < epochs * order.n:
        epoch, start = divmod(cursor, order.n)
        stop = min(start + batch_size, order.n)
        first, last = local_part(stop - start, rank, size)
        ids = ids_at(epoch, start + first, start + last)
        cursor += stop - start
        yield Batch(
            fields={},
            ids=ids,
            global_size=stop - start,
            local_offset=first,
            epoch=epoch,
            step_in_epoch=start // batch_size,
            cursor=cursor,
            last_in_epoch=stop == order.n,
        )


class _BlockedOrder:
    """Looks positions up in a block of the order, if batches are small enough to share one."""

    def __init__(self, order: Order, batch_size: int) -> None:
        self._order = order
        self._blocked = 4 * batch_size <= _ORDER_BLOCK
        self._epoch, self._start = -1, 0
        self._ids = np.empty(0, np.int64)

    def __call__(self, epoch: int, start: int, stop: int) -> np.ndarray:
        if not self._blocked:
            return self._order.ids(epoch, start, stop)
        end = self._start + len(self._ids)
        if epoch != self._epoch or start < self._start or stop > end:
            end = max(stop, min(start + _ORDER_BLOCK, self._order.n))
            self._ids = self._order.ids(epoch, start, end)
            self._epoch, self._start = epoch, start
        return self._ids[start - self._start : stop - self._start].copy()
