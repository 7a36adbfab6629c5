"""Reading the batches of a plan: several small ones at once, into memory that is used again.

Every read costs the same few dozen microseconds of Python, and a change of threads, whatever its
size. So consecutive small batches are read together, as one, and cut apart afterwards.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend.transfer import Transfer
from hpcad.data.batch import Batch
from hpcad.data.dataset import Dataset
from hpcad.data.loading.prefetch import Budget
from hpcad.data.loading.ring import Ring, allocate

_TOGETHER = 4 << 20  # bytes of batches that are read together, at most


@dataclass(frozen=True)
class Read:
    """A batch with its fields.

    Attributes
    ----------
    batch : Batch
    seconds : float
        What reading it took.
    """

    batch: Batch
    seconds: float


class BatchReader:
    """Reads batches of a dataset; any number of threads may use it.

    Parameters
    ----------
    dataset : Dataset
    batch_samples : int
        Samples of a batch on this rank.
    prefetch, prefetch_bytes, readers : int
        Of the :class:`~hpcad.data.Loader`.
    moving : Transfer, optional
        To the device.

    Attributes
    ----------
    group : int
        Batches that are read together.
    budget : Budget
        For a :class:`~hpcad.data.loading.prefetch.ReadAhead` whose jobs are groups: such that never
        more than `prefetch` batches are ahead of the one handed out.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_samples: int,
        *,
        prefetch: int,
        prefetch_bytes: int,
        readers: int,
        moving: Transfer | None,
    ) -> None:
        self.dataset, self._moving = dataset, moving
        self._sample_bytes = _sample_bytes(dataset)
        batch_bytes = max(1, int(batch_samples * self._sample_bytes))
        # Every reader has one in hand, one group is ready, and one is being used up.
        parts = readers + 2
        fitting = min(_TOGETHER, prefetch_bytes // parts) // batch_bytes
        self.group = max(1, min(prefetch // parts, fitting))
        jobs = (prefetch - self.group + 1) // self.group
        self.budget = Budget(jobs, prefetch_bytes, readers)
        # Blocks of those ahead, of the batch handed out, and of the one that a loop still holds.
        self._ring = Ring(jobs + 2, allocate if moving is None else moving.allocate)

    def groups(self, plan: Iterator[Batch]) -> Iterator[Sequence[Batch]]:
        """The batches of a plan in groups."""
        while group := tuple(itertools.islice(plan, self.group)):
            yield group

    def size(self, group: Sequence[Batch]) -> int:
        """Bytes of some batches; an average, where there are ragged fields."""
        return int(sum(map(len, group)) * self._sample_bytes)

    def read(self, group: Sequence[Batch]) -> list[Read | BaseException]:
        """Read a group; an error stands in the place of the batch that it belongs to, at the end.

        Raises
        ------
        BaseException
            The first batch cannot be read.
        """
        try:
            return [*self._read(group)]
        except BaseException:
            if len(group) == 1:
                raise
        found: list[Read | BaseException] = []
        for batch in group:
            try:
                found += self._read([batch])
            except BaseException as error:  # noqa: BLE001 - raised by next(), with its traceback
                return [*found, error]
        return found

    def _read(self, group: Sequence[Batch]) -> Iterator[Read]:
        started = time.perf_counter()
        ids = group[0].ids if len(group) == 1 else np.concatenate([batch.ids for batch in group])
        targets = self._ring.lend_fields(self.dataset.fields, len(ids))
        fields: dict[str, Any] = {**self.dataset.read(ids, targets)}
        if self._moving is not None:  # ragged fields stay where they are
            arrays = {name: a for name, a in fields.items() if isinstance(a, np.ndarray)}
            fields.update(self._moving.copy(arrays))
        seconds = (time.perf_counter() - started) / len(group)
        first = 0
        for batch in group:
            last = first + len(batch)
            batch.fields.update({name: array[first:last] for name, array in fields.items()})
            first = last
            yield Read(batch, seconds)


def _sample_bytes(dataset: Dataset) -> float:
    """Bytes of a sample; on average, where there are ragged fields."""
    fields = dataset.fields
    whole: float = sum(field.nbytes for field in fields.values() if not field.ragged)
    manifest = getattr(dataset, "manifest", None)  # datasets in memory have none, and need none
    if manifest is None:
        return whole
    ragged = {name for name, field in fields.items() if field.ragged}
    found = (shard.arrays[name].nbytes for shard in manifest.shards for name in ragged)
    return whole + sum(found) / len(dataset)
