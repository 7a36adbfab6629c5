"""Exactly once, in one order, whatever the number of ranks and wherever a run is cut."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import Batch, Dataset, GlobalOrder, Loader, local_part, open_dataset

from .conftest import numbered

N = 53


@pytest.fixture
def dataset(make: Callable[..., Path]) -> Dataset:
    return open_dataset(make(N, 11))


def world(dataset: Dataset, size: int, batch_size: int, **options: int) -> list[list[Batch]]:
    """All batches, a list per step with one entry per rank."""
    loaders = [
        Loader(dataset, batch_size, seed=9, rank=rank, size=size, prefetch=0, **options)
        for rank in range(size)
    ]
    return [list(step) for step in zip(*loaders, strict=True)]


def ids_of(step: list[Batch]) -> list[int]:
    return np.concatenate([batch.ids for batch in step]).tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("batch_size", [7, 8, 53, 60])
def test_each_step_has_the_same_samples_at_every_world_size(
    dataset: Dataset, size: int, batch_size: int
) -> None:
    steps = world(dataset, size, batch_size, epochs=3)
    alone = world(dataset, 1, batch_size, epochs=3)
    assert [ids_of(step) for step in steps] == [ids_of(step) for step in alone]
    for epoch in range(3):
        seen = [i for step in steps if step[0].epoch == epoch for i in ids_of(step)]
        assert seen == GlobalOrder(N, 9).ids(epoch, 0, N).tolist()


@pytest.mark.parametrize(("before", "after"), [(2, 3), (4, 1), (1, 4), (3, 8), (8, 3), (7, 2)])
@pytest.mark.parametrize("stopped_at", [1, 3, 5])
def test_exactly_once_over_a_change_of_the_world_in_mid_epoch(
    dataset: Dataset, before: int, after: int, stopped_at: int
) -> None:
    first = world(dataset, before, 10, epochs=2)[:stopped_at]
    cursor = first[-1][0].cursor
    rest = world(dataset, after, 10, epochs=2, cursor=cursor)
    steps = [ids_of(step) for step in first + rest]
    assert steps == [ids_of(step) for step in world(dataset, 1, 10, epochs=2)]
    epoch = [i for step in first + rest if step[0].epoch == 0 for i in ids_of(step)]
    assert sorted(epoch) == list(range(N))


def test_exactly_once_with_another_batch_size_from_an_odd_place(dataset: Dataset) -> None:
    first = world(dataset, 2, 9, epochs=1)[:2]
    rest = world(dataset, 3, 5, epochs=1, cursor=18)
    seen = [i for step in first + rest for i in ids_of(step)]
    assert sorted(seen) == list(range(N))


def test_parts_are_balanced_contiguous_and_described(dataset: Dataset) -> None:
    steps = world(dataset, 4, 10, epochs=2)
    cursor = 0
    for index, step in enumerate(steps):
        sizes = [len(batch) for batch in step]
        offsets = [batch.local_offset for batch in step]
        assert max(sizes) - min(sizes) <= 1
        assert offsets == [sum(sizes[:rank]) for rank in range(4)]
        cursor += sum(sizes)
        for batch in step:
            assert batch.global_size == sum(sizes)
            assert batch.cursor == cursor
            assert (batch.epoch, batch.step_in_epoch) == divmod(index, 6)
            assert batch.last_in_epoch == (cursor % N == 0)
    assert [ids_of(step) for step in steps if step[0].last_in_epoch] == [
        GlobalOrder(N, 9).ids(epoch, 50, N).tolist() for epoch in (0, 1)
    ]


def test_ranks_may_get_nothing_at_the_end_of_an_epoch(dataset: Dataset) -> None:
    last = world(dataset, 5, 10, epochs=1)[-1]
    assert [len(batch) for batch in last] == [1, 1, 1, 0, 0]
    assert last[4]["x"].shape == (0, 3, 2)
    assert last[4].global_size == 3


def test_fields_belong_to_their_ids(dataset: Dataset) -> None:
    expected = numbered(N)
    for step in world(dataset, 3, 10, epochs=1):
        for batch in step:
            np.testing.assert_array_equal(batch["x"], expected["x"][batch.ids])
            np.testing.assert_array_equal(batch["y"], batch.ids)


def test_large_batches_ask_for_their_own_part_of_the_order_only(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The small ones above came out of a shared block; these take the other way.
    monkeypatch.setattr("hpcad.data.batch._ORDER_BLOCK", 10)
    asked = []
    real = GlobalOrder.ids

    def ids(order: GlobalOrder, epoch: int, start: int, stop: int) -> np.ndarray:
        asked.append(stop - start)
        return real(order, epoch, start, stop)

    monkeypatch.setattr(GlobalOrder, "ids", ids)
    steps = world(dataset, 4, 20, epochs=1)
    assert max(asked) == 5
    assert [i for step in steps for i in ids_of(step)] == real(GlobalOrder(N, 9), 0, 0, N).tolist()


def test_blocks_of_the_order_join(make: Callable[..., Path]) -> None:
    dataset = open_dataset(make(9000, 5000))
    with Loader(dataset, 70, rank=1, size=3, prefetch=0, epochs=1) as loader:
        ids = [batch.ids for batch in loader]
    order = GlobalOrder(9000, 0).ids(0, 0, 9000)
    for index, part in enumerate(ids):
        start, stop = index * 70, min(index * 70 + 70, 9000)
        first, last = local_part(stop - start, 1, 3)
        np.testing.assert_array_equal(part, order[start + first : start + last])


def test_local_parts_tile_the_whole() -> None:
    for count in range(20):
        for size in range(1, 8):
            parts = [local_part(count, rank, size) for rank in range(size)]
            assert parts[0][0] == 0
            assert parts[-1][1] == count
            assert all(a[1] == b[0] for a, b in pairwise(parts))
