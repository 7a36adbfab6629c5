from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hpcad.data import ArrayDataset, Loader, Mixture
from hpcad.data.mixture import PATTERN, pattern, places
from hpcad.errors import DataError

SIZES = {"a": 30, "b": 7, "c": 101}
WEIGHTS = {"a": 5.0, "b": 1.0, "c": 2.0}


@pytest.fixture
def mixture():
    datasets, first = {}, 0
    for name, size in SIZES.items():
        datasets[name] = ArrayDataset({"x": np.arange(first, first + size)})
        first += size
    return Mixture(datasets, WEIGHTS)


def name_of(sample: int) -> str:
    return "a" if sample < 30 else "b" if sample < 37 else "c"


def walk(mixture, stop, *, size=1, batch_size=16, cursor=0):
    """Samples from a cursor to at least ``stop`` samples, in the order of the global batches."""
    order = mixture.order(seed=5)
    loaders = [
        Loader(mixture, batch_size, order=order, rank=rank, size=size, cursor=cursor)
        for rank in range(size)
    ]
    seen: list[int] = []
    while cursor + len(seen) < stop:
        for batch in [next(loader) for loader in loaders]:
            np.testing.assert_array_equal(batch["x"], batch.ids)
            seen += batch["x"].tolist()
    for loader in loaders:
        loader.close()
    return seen


def test_samples_come_in_the_stated_proportions(mixture):
    seen = walk(mixture, 2 * PATTERN)[: 2 * PATTERN]
    counts = Counter(map(name_of, seen))
    for name, weight in WEIGHTS.items():
        assert counts[name] == pytest.approx(2 * PATTERN * weight / 8, abs=2)
    for start in range(0, 2000, 80):  # also in every short stretch
        stretch = Counter(map(name_of, seen[start : start + 80]))
        assert abs(stretch["a"] - 50) <= 3


def test_each_dataset_is_seen_whole_before_any_sample_comes_again(mixture):
    seen = walk(mixture, 3000)
    for name, size in SIZES.items():
        mine = [x for x in seen if name_of(x) == name]
        for start in range(0, len(mine) - size, size):
            assert len(set(mine[start : start + size])) == size
        assert mine[:size] != mine[size : 2 * size] or len(mine) < 2 * size


@pytest.mark.parametrize(("size", "batch_size", "cut"), [(2, 16, 138), (3, 13, 276), (4, 16, 138)])
def test_the_walk_goes_on_at_another_size(mixture, size, batch_size, cut):
    expected = walk(mixture, 600)
    assert (
        walk(mixture, 600, size=size, batch_size=batch_size, cursor=cut)[:200]
        == (expected[cut : cut + 200])
    )


def test_what_was_seen_is_known_from_the_cursor(mixture):
    order = mixture.order(seed=5)
    walked = walk(mixture, 1000)
    for cursor in (0, 1, 137, 500, 1000):
        counts = Counter(map(name_of, walked[:cursor]))
        for name, seen in order.seen(cursor).items():
            assert seen.samples == counts[name]
            assert seen.epochs == counts[name] // SIZES[name]


def test_rare_datasets_have_a_place():
    counts = places([1e-9, 1.0, 3.0])
    assert counts.sum() == PATTERN
    assert counts[0] == 1
    assert Counter(pattern(counts).tolist()) == {0: 1, 1: counts[1], 2: counts[2]}


def test_datasets_that_do_not_fit_are_refused():
    one, other = ArrayDataset({"x": np.zeros(3)}), ArrayDataset({"y": np.zeros(3)})
    with pytest.raises(DataError, match="equal fields"):
        Mixture({"one": one, "other": other}, {"one": 1, "other": 1})
    with pytest.raises(DataError, match="one weight for each"):
        Mixture({"one": one}, {"one": 1, "two": 1})
    with pytest.raises(DataError, match="must be positive"):
        Mixture({"one": one}, {"one": 0.0})
    assert Mixture({"one": one}, {"one": 1.0}).hash != one.hash
