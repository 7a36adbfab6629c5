from __future__ import annotations

import numpy as np
import pytest

from hpcad.data import GlobalOrder
from hpcad.errors import DataError

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33, 97, 127, 128, 129, 1000, 1009, 4096, 10007]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_epoch_is_a_permutation(n: int, epoch: int) -> None:
    ids = GlobalOrder(n, seed=3).ids(epoch, 0, n)
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(np.sort(ids), np.arange(n))


@pytest.mark.parametrize("n", [2, 10, 1009])
def test_a_position_does_not_depend_on_what_else_is_asked(n: int) -> None:
    order = GlobalOrder(n, seed=11)
    whole = order.ids(2, 0, n)
    one_by_one = [int(order.ids(2, p, p + 1)[0]) for p in range(n)]
    assert one_by_one == whole.tolist()
    np.testing.assert_array_equal(order.ids(2, n // 3, n), whole[n // 3 :])
    assert order.ids(2, 1, 1).shape == (0,)


def test_epochs_and_seeds_differ() -> None:
    orders = {
        GlobalOrder(500, seed).ids(epoch, 0, 500).tobytes()
        for seed in (0, 1, 2, 2**32, 2**63, -1)
        for epoch in range(20)
    }
    assert len(orders) == 6 * 20


def test_the_order_never_changes_between_versions() -> None:
    # Runs are continued with newer versions of hpcad: these numbers must stay.
    assert GlobalOrder(10, seed=7).ids(0, 0, 10).tolist() == [8, 0, 7, 6, 4, 5, 2, 9, 1, 3]
    assert GlobalOrder(10**12, seed=7).ids(3, 10**11, 10**11 + 3).tolist() == [
        166753158735,
        601162744406,
        267646289679,
    ]


def test_natural_order_without_shuffling() -> None:
    order = GlobalOrder(9, seed=1, shuffle=False)
    assert order.ids(4, 2, 6).tolist() == [2, 3, 4, 5]


def test_positions_of_a_trillion_samples_cost_no_memory() -> None:
    n = 10**12 + 39
    ids = GlobalOrder(n, seed=5).ids(0, n - 1000, n)
    assert len(set(ids.tolist())) == 1000
    assert ids.min() >= 0
    assert ids.max() < n
    assert abs(ids.mean() / n - 0.5) < 0.05  # 5 standard errors are 0.046


def test_samples_go_everywhere_and_neighbours_are_unrelated() -> None:
    n, epochs = 64, 2000
    orders = np.stack([GlobalOrder(n, seed=1).ids(epoch, 0, n) for epoch in range(epochs)])
    # How often sample s stands at position p: chi-squared over n*n cells, (n-1)**2 degrees.
    counts = np.zeros((n, n))
    for position in range(n):
        counts[position] = np.bincount(orders[:, position], minlength=n)
    expected = epochs / n
    chi2 = ((counts - expected) ** 2 / expected).sum()
    degrees = (n - 1) ** 2
    assert abs(chi2 - degrees) < 6 * np.sqrt(2 * degrees)
    # How often sample b follows sample a.
    pairs = np.bincount((orders[:, :-1] * n + orders[:, 1:]).ravel(), minlength=n * n)
    pairs = pairs.reshape(n, n)[~np.eye(n, dtype=bool)]
    expected = epochs * (n - 1) / (n * (n - 1))
    chi2 = ((pairs - expected) ** 2 / expected).sum()
    assert abs(chi2 - pairs.size) < 6 * np.sqrt(2 * pairs.size)


def test_all_orders_of_four_samples_are_about_equally_likely() -> None:
    orders = [tuple(GlobalOrder(4, seed).ids(0, 0, 4).tolist()) for seed in range(2400)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 24
    assert ((counts - 100) ** 2 / 100).sum() < 23 + 6 * np.sqrt(46)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (0, 11), (5, 4)])
def test_positions_that_do_not_exist(start: int, stop: int) -> None:
    with pytest.raises(DataError, match="do not exist in an order of 10"):
        GlobalOrder(10, seed=0).ids(0, start, stop)


@pytest.mark.parametrize("n", [0, -3, 2**62 + 1])
def test_sizes_that_cannot_be_ordered(n: int) -> None:
    with pytest.raises(DataError, match="an order needs"):
        GlobalOrder(n, seed=0)
