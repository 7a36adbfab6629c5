from __future__ import annotations

import numpy as np
import pytest

from hpcad.data import ArrayDataset, BlockOrder, BlockShuffle, Loader
from hpcad.data.order.permutation import Permutation
from hpcad.errors import DataError


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 97, 128, 1009])
@pytest.mark.parametrize("block", [1, 2, 3, 10, 64, 5000])
@pytest.mark.parametrize("window", [1, 2, 5, 100])
def test_an_epoch_is_a_permutation_at_any_cut(n, block, window):
    if n > 50 * block * window:
        pytest.skip("thousands of groups of a few samples: nobody's order, and slow")
    order = BlockOrder(n, 3, block, window)
    for epoch in (0, 1):
        whole = order.ids(epoch, 0, n)
        assert whole.dtype == np.int64
        assert sorted(whole.tolist()) == list(range(n))
        cut = n // 3
        both = np.concatenate([order.ids(epoch, 0, cut), order.ids(epoch, cut, n)])
        np.testing.assert_array_equal(both, whole)
        one_by_one = [int(order.ids(epoch, p, p + 1)[0]) for p in range(min(n, 40))]
        assert one_by_one == whole[:40].tolist()


def test_only_a_window_of_blocks_is_touched_at_a_time():
    n, block, window = 1009, 16, 4
    ids = BlockOrder(n, 5, block, window).ids(0, 0, n)
    seen: set[int] = set()
    for start in range(0, n, block):
        touched = set((ids[start : start + block] // block).tolist())
        assert len(touched) <= 2 * window  # a batch may reach into the next group
        seen |= touched
    assert len(seen) == -(-n // block)
    places = np.flatnonzero(np.isin(ids, np.arange(block)))  # one block's samples
    assert np.ptp(places) < window * block


def test_epochs_and_seeds_differ():
    orders = {
        BlockOrder(300, seed, 10, 3).ids(epoch, 0, 300).tobytes()
        for seed in (0, 1, 2**63)
        for epoch in range(5)
    }
    assert len(orders) == 15


def test_the_order_never_changes_between_versions():
    # Runs are continued with newer versions of hpcad: these numbers must stay.
    assert BlockOrder(10, 7, 3, 2).ids(1, 0, 10).tolist() == EXPECTED


EXPECTED = [2, 4, 0, 1, 5, 3, 9, 6, 8, 7]


def test_the_stated_quality_is_what_is_seen():
    n, block, window, batch = 4096, 8, 32, 16
    order = BlockOrder(n, 1, block, window)
    met = 0
    for epoch in range(10):
        blocks = np.sort(order.ids(epoch, 0, n).reshape(-1, batch) // block, axis=1)
        for apart in range(1, block):  # equal numbers stand side by side
            met += int((blocks[:, apart:] == blocks[:, :-apart]).sum())
    # In a full shuffle two given samples meet with probability (batch - 1) / (n - 1).
    pairs = 10 * (n // block) * block * (block - 1) // 2
    ratio = met / pairs / ((batch - 1) / (n - 1))
    assert ratio == pytest.approx(order.quality().neighbours, rel=0.1)


def test_positions_of_a_trillion_samples_cost_no_memory():
    n = 10**12 + 39
    ids = BlockOrder(n, 5, 10**6, 64).ids(0, n - 1000, n)
    assert len(set(ids.tolist())) == 1000
    assert 0 <= ids.min() <= ids.max() < n


@pytest.mark.parametrize("n", [1, 2, 3, 5, 64, 1000])
def test_the_inverse_of_a_permutation(n):
    forth = Permutation(n, 12, 3)
    everything = np.arange(n)
    np.testing.assert_array_equal(forth.inverse(forth(everything)), everything)
    np.testing.assert_array_equal(forth(forth.inverse(everything)), everything)


@pytest.mark.parametrize(("block", "window"), [(0, 1), (1, 0), (-3, 2)])
def test_impossible_blocks_are_refused(block, window):
    with pytest.raises(DataError, match="at least 1"):
        BlockOrder(10, 0, block, window)


def test_a_loader_follows_it():
    dataset = ArrayDataset({"x": np.arange(50)})
    with Loader(dataset, 7, seed=3, shuffle=BlockShuffle(4, 3), epochs=1) as loader:
        seen = np.concatenate([batch["x"] for batch in loader])
    np.testing.assert_array_equal(seen, BlockOrder(50, 3, 4, 3).ids(0, 0, 50))
