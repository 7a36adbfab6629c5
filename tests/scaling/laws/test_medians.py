"""Intervals of medians and efficiencies hold the truth whatever the distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpcad.errors import DataError
from hpcad.scaling.laws.medians import difference, efficiency, median, order_of_median


@pytest.mark.parametrize(
    ("count", "rank", "reached"),
    # By hand, from binomial coefficients.
    [(6, 1, 0.96875), (10, 2, 0.978515625), (20, 6, 0.9586105), (50, 18, 0.9671608)],
)
def test_ranks_are_those_of_the_binomial(count, rank, reached):
    assert order_of_median(count) == (rank, pytest.approx(reached, abs=1e-7))


def test_many_values_meet_the_normal_limit():
    rank, reached = order_of_median(10_000)
    assert rank == pytest.approx(5000 - 1.96 * 50, abs=1.5)
    assert 0.95 <= reached < 0.952


def test_fewer_than_six_values_have_no_interval():
    assert order_of_median(5) == (0, 1.0)
    found = median([3.0, 1.0, 2.0])
    assert (found.value, found.low, found.high) == (2.0, -math.inf, math.inf)
    found = efficiency([4.0] * 3, [2.0, 1.9, 2.1], 0.25)
    assert (found.value, found.low, found.high) == (0.5, 0.0, math.inf)


def test_a_median_interval_ends_at_values():
    found = median([5.0, 9.0, 1.0, 7.0, 3.0, 8.0, 2.0, 6.0, 4.0, 100.0])
    assert (found.value, found.low, found.high) == (5.5, 2.0, 9.0)


@pytest.mark.parametrize("count", [7, 30])
def test_median_intervals_cover_a_skewed_distribution(count):
    times = np.random.default_rng(8).lognormal(0.0, 1.0, (4000, count))
    inside = np.mean([1.0 in median(row) for row in times])
    assert inside == pytest.approx(order_of_median(count)[1], abs=0.012)  # 3.5 deviations


def test_efficiency_intervals_cover_the_true_ratio():
    random = np.random.default_rng(9)
    inside = []
    for _ in range(400):
        base = 1.0 * random.lognormal(0.0, 0.1, 25)
        times = 0.3 * random.lognormal(0.0, 0.3, 25)
        inside.append(1 / 0.3 / 4 in efficiency(base, times, 1 / 4, draws=300))
    assert 0.915 <= np.mean(inside) <= 0.985  # 3.2 deviations


def test_an_efficiency_is_the_same_every_time():
    times = np.random.default_rng(1).lognormal(0.0, 0.1, (2, 9))
    found = efficiency(*times, 0.5)
    assert found == efficiency(*times, 0.5)
    assert found.value == 0.5 * np.median(times[0]) / np.median(times[1])
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: median([]), "a list with a number or more"),
        (lambda: median([1.0, math.inf]), "leave failed measurements out"),
        (lambda: efficiency([1.0], [0.0], 1.0), "times must be positive times, but one is 0"),
        (lambda: efficiency([1.0], [1.0], 0.0), "ideal must be positive, not 0"),
    ],
)
def test_what_is_no_time_is_refused(call, told):
    with pytest.raises(DataError, match=told):
        call()


def test_differences_are_of_medians_and_bounded_where_there_are_six_times():
    whole, part = [5.0, 5.1, 5.2, 5.3, 5.4, 5.5], [4.0, 4.1, 4.2, 4.3, 4.4, 4.5]
    found = difference(whole, part)
    assert found.value == pytest.approx(1.0)
    assert 5.0 - 4.5 <= found.low < 1.0 < found.high <= 5.5 - 4.0
    few = difference(whole[:5], part)
    assert (few.low, few.high) == (-math.inf, math.inf)
