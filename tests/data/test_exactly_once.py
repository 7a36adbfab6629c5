"""Runs that are stopped anywhere and go on at another world size see every sample once."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.data import ArrayDataset, BlockOrder, Loader, Mixture

WORLDS = (1, 2, 3, 4, 5, 7, 8)
N = 211  # prime: no batch divides it
STOPS = 10


@pytest.fixture(scope="module")
def dataset():
    return ArrayDataset({"x": np.arange(N)})


def steps_of(dataset, order, size, batch_size, cursor, steps):
    """Global batches (ids in rank order) of a world, and the cursor after them."""
    loaders = [
        Loader(dataset, batch_size, seed=3, order=order, rank=rank, size=size, cursor=cursor,
               epochs=1, prefetch=0)
        for rank in range(size)
    ]  # fmt: skip
    seen = []
    while steps is None or len(seen) < steps:
        parts = [next(loader, None) for loader in loaders]
        if parts[0] is None:
            assert not any(parts)
            break
        for part in parts:
            np.testing.assert_array_equal(part["x"], part.ids)
        assert len({part.cursor for part in parts}) == 1
        assert sum(map(len, parts)) == parts[0].global_size
        seen.append(np.concatenate([part.ids for part in parts]))
        cursor = parts[0].cursor
    return seen, cursor


@pytest.mark.parametrize("after", WORLDS)
@pytest.mark.parametrize("before", WORLDS)
def test_the_ids_seen_are_the_epoch(dataset, before, after):
    check(dataset, None, before, after)


@pytest.mark.parametrize(("before", "after"), [(1, 8), (5, 3), (8, 7)])
def test_the_ids_seen_are_the_epoch_with_blocks(dataset, before, after):
    check(dataset, BlockOrder(N, 3, block=10, window=4), before, after)


def check(dataset, order, before, after):
    # 24 divides by all of these sizes but 5 and 7; 13, 11 and 17 by none but 1.
    for batch, other in ((24, 24), (13, 11), (8, 17)):
        whole = np.concatenate(steps_of(dataset, order, 1, batch, 0, None)[0])
        assert sorted(whole.tolist()) == list(range(N))
        last = -(-N // batch) - 1
        for stop in sorted({round(i * last / (STOPS - 1)) for i in range(STOPS)}):
            first, cursor = steps_of(dataset, order, before, batch, 0, stop)
            rest, end = steps_of(dataset, order, after, other, cursor, None)
            assert end == N
            # Not only the same samples: the same order.
            np.testing.assert_array_equal(np.concatenate([*first, *rest]), whole)


def test_a_mixture_goes_on_where_it_stopped(dataset):
    other = ArrayDataset({"x": np.arange(N, N + 50)})
    mixture = Mixture({"a": dataset, "b": other}, {"a": 2.0, "b": 1.0})
    order = mixture.order(seed=3, samples=N)
    for before, after, batch in [(2, 3, 12), (5, 7, 13), (8, 1, 8)]:
        whole = np.concatenate(steps_of(mixture, order, 1, batch, 0, None)[0])
        for stop in (0, 1, 5):
            first, cursor = steps_of(mixture, order, before, batch, 0, stop)
            rest, _ = steps_of(mixture, order, after, 11, cursor, None)
            np.testing.assert_array_equal(np.concatenate([*first, *rest]), whole)
