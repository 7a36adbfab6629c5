"""Intervals of fits hold the truth as often as they say, on data whose truth is known."""

from __future__ import annotations

import math

import pytest
from scaling_studies import STUDIES

QUICK = 40


def least_plausible(trials: int, level: float = 0.95, risk: float = 1e-3) -> int:
    """The fewest of so many trials that a right interval holds but for a risk of 1 in 1000."""
    total, count = 0.0, -1
    while total < risk:
        count += 1
        total += math.comb(trials, count) * level**count * (1 - level) ** (trials - count)
    return count


def coverage(name: str, trials: int) -> dict[str, float]:
    """Each study draws noise of its own, so that one bad draw is not seen in all."""
    return STUDIES[name].coverage(trials, seed=[trials, *name.encode()])


@pytest.fixture(scope="module")
def quick():
    return {name: coverage(name, QUICK) for name in STUDIES}


@pytest.mark.parametrize("name", STUDIES)
def test_no_interval_misses_the_truth_more_often_than_chance_allows(quick, name):
    assert min(quick[name].values()) * QUICK >= least_plausible(QUICK), quick[name]


def test_all_quick_trials_together_cover_95_percent(quick):
    """Over 800 intervals; those of one fit are dependent, hence three points, not two."""
    shares = [share for found in quick.values() for share in found.values()]
    assert len(shares) * QUICK > 800
    assert abs(sum(shares) / len(shares) - 0.95) < 0.03


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STUDIES)
def test_500_trials_cover_95_percent_but_for_3(name):
    """A right interval fails here with a probability of 0.3 %: 3 points are 3.1 deviations."""
    found = coverage(name, 500)
    print(name, {key: f"{share:.1%}" for key, share in found.items()})
    assert all(abs(share - 0.95) <= 0.03 for share in found.values()), found
