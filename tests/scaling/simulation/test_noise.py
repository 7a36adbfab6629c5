"""The slowest of P ranks: against P numbers that were drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from hpcad.scaling.simulation.machine import Noise
from hpcad.scaling.simulation.noise import quantile, slowest, survives

NOISES = {
    "jitter": Noise(sigma=0.05),
    "tail": Noise(sigma=0.02, tail_probability=0.01, tail_mean=0.5),
    "tail alone": Noise(sigma=0.0, tail_probability=0.05, tail_mean=0.3),
}


def drawn(noise, ranks, steps):
    rng = np.random.default_rng(5)
    late = rng.random((steps, ranks)) < noise.tail_probability
    factors = 1 + noise.sigma * rng.standard_normal((steps, ranks))
    factors += late * rng.exponential(noise.tail_mean or 1.0, (steps, ranks))
    return factors.max(axis=1)


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("ranks", [1, 8, 500])
def test_its_distribution_is_that_of_the_largest_of_as_many_draws(name, ranks):
    found = slowest(NOISES[name], ranks, 2000, seed=1)
    wanted = np.sort(drawn(NOISES[name], ranks, 2000))
    # Kolmogorov and Smirnov: 2000 draws of one distribution differ by more than this once in 10^5.
    both = np.sort(np.concatenate([found, wanted]))
    distance = np.abs(
        np.searchsorted(found, both + 1e-12) - np.searchsorted(wanted, both + 1e-12)
    ).max()
    assert distance / 2000 < 2.5 * math.sqrt(1 / 2000)


@pytest.mark.parametrize("name", NOISES)
def test_quantiles_are_the_inverse_of_survival(name):
    noise = NOISES[name]
    wanted = np.array([0.04, 0.01, 1e-4, 1e-7])
    np.testing.assert_allclose(survives(noise, quantile(noise, wanted)), wanted, rtol=1e-6)


@pytest.mark.parametrize(("sigma", "mean"), [(0.02, 0.5), (0.3, 0.3), (0.3, 0.03)])
def test_a_late_rank_is_a_normal_one_and_an_exponential_delay(sigma, mean):
    """Against the convolution, by the rectangle rule."""
    delay = (np.arange(40_000) + 0.5) * 40 * mean / 40_000
    density = np.exp(-delay / mean) / mean * (40 * mean / 40_000)
    factors = 1 + np.array([-2.0, -0.5, 0.0, 1.0, 3.0, 6.0]) * sigma
    late = [np.sum(density * ndtr(-(factor - 1 - delay) / sigma)) for factor in factors]
    wanted = 0.7 * ndtr(-(factors - 1) / sigma) + 0.3 * np.array(late)
    found = survives(Noise(sigma, 0.3, mean), factors)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_it_grows_with_the_ranks_like_the_root_of_their_logarithm():
    noise = Noise(sigma=0.05)
    means = [slowest(noise, ranks, 4000, 0).mean() for ranks in (1, 100, 10_000, 100_000)]
    assert means == sorted(means)
    assert means[0] == pytest.approx(1, abs=1e-3)
    # Of 100000 standard normal numbers the largest is 4.38 on the average.
    assert (means[-1] - 1) / 0.05 == pytest.approx(4.384, abs=0.02)


def test_without_noise_nobody_is_slow():
    assert set(slowest(Noise(), 100_000, 10, 0)) == {1.0}


def test_a_seed_is_a_result():
    noise = NOISES["tail"]
    assert np.array_equal(slowest(noise, 64, 50, 3), slowest(noise, 64, 50, 3))
    assert not np.array_equal(slowest(noise, 64, 50, 3), slowest(noise, 64, 50, 4))


def test_far_tails_do_not_overflow():
    noise = Noise(sigma=0.3, tail_probability=1e-9, tail_mean=1e-4)
    found = survives(noise, np.array([0.0, 1.0, 2.0, 50.0]))
    assert np.isfinite(found).all()
    assert (np.diff(found) <= 0).all()
