"""The intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from medians import median_interval, ratio_interval


def test_interval_of_the_median_is_that_of_the_tables() -> None:
    """n = 20: the 6th and 15th of the ordered samples, at 95.9 % (Conover, table A3)."""
    assert median_interval(range(1, 21)) == (10.5, 6.0, 15.0)


def test_few_samples_give_their_whole_range() -> None:
    assert median_interval([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert median_interval([7.0]) == (7.0, 7.0, 7.0)


@pytest.mark.parametrize("n", [8, 25, 60])
def test_the_interval_covers_the_median_of_a_skewed_distribution(n: int) -> None:
    rng = np.random.default_rng(0)
    found = [median_interval(rng.exponential(size=n)) for _ in range(2000)]
    covered = np.mean([low <= np.log(2) <= high for _, low, high in found])
    assert 0.94 <= covered <= 0.995


def test_disturbed_rounds_cancel_in_the_ratio() -> None:
    """Both sides twice as slow in half of the rounds: the ratio is still known to a percent."""
    rng = np.random.default_rng(1)
    machine = rng.choice([1.0, 2.0], size=(40, 1))
    a = 3.0 * machine * rng.normal(1.0, 0.001, (40, 3))
    b = 2.0 * machine * rng.normal(1.0, 0.001, (40, 3))
    ratio, low, high = ratio_interval(a, b)
    assert 1.48 < low <= ratio <= high < 1.52
