"""The slowest of P ranks: drawn at once from its own distribution, and not as P numbers.

Of independent ranks whose factors have the survival function S, the largest of P is below x with
the probability (1 - S(x))^P. So where u is uniform, the x of ``S(x) = 1 - u^(1/P)`` is a draw of
the largest, at the same cost for any P (David & Nagaraja 2003, *Order Statistics*, 2.1). Draws are
stratified, one u in each of as many equal intervals, so that few of them have the mean of many.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr, ndtri

from hpcad.scaling.simulation.machine import Noise

Array = np.ndarray[Any, Any]


def slowest(noise: Noise, ranks: int, draws: int, seed: int) -> Array:
    """Factors of the slowest rank in ``draws`` steps, in ascending order.

    Returns
    -------
    array of float64, shape (draws,)
        At least 0; 1 is a rank that nothing slows down.
    """
    if noise.sigma == 0 and noise.tail_probability == 0:
        return np.ones(draws)
    inside = np.random.default_rng(seed).random(draws)
    u = np.clip((np.arange(draws) + inside) / draws, 1e-12, 1 - 1e-12)
    return quantile(noise, -np.expm1(np.log(u) / ranks))


def quantile(noise: Noise, survival: Array) -> Array:
    """The factor that a rank exceeds with the given probabilities."""
    if noise.tail_probability == 0:
        return np.maximum(1 - noise.sigma * ndtri(survival), 0.0)
    reach = 40 * noise.sigma + 800 * noise.tail_mean
    low, high = np.full_like(survival, 1 - reach), np.full_like(survival, 1 + reach)
    for _ in range(80):  # bisection: the function is monotonic, and has kinks where sigma is 0
        middle = (low + high) / 2
        above = survives(noise, middle) > survival
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.maximum(high, 0.0)


def survives(noise: Noise, factor: Array) -> Array:
    """Probability that a rank's factor is larger.

    A normal distribution with ``tail_probability`` convolved with an exponential one.
    """
    t, q = np.asarray(factor, np.float64) - 1, noise.tail_probability
    if noise.sigma == 0:
        late = np.where(t > 0, np.exp(-np.maximum(t, 0) / noise.tail_mean), 1.0)
        return q * late + (1 - q) * (t < 0)
    z = t / noise.sigma
    normal = ndtr(-z)
    if q == 0:
        return normal
    ratio = noise.sigma / noise.tail_mean
    # exp(ratio^2 / 2 - z ratio) ndtr(z - ratio), without overflow of its parts
    far = (ratio - z) / np.sqrt(2)
    with np.errstate(over="ignore", invalid="ignore"):
        by_erfcx = 0.5 * erfcx(np.maximum(far, 0)) * np.exp(-(z**2) / 2)
        by_logs = np.exp(ratio**2 / 2 - z * ratio + log_ndtr(z - ratio))
    late = normal + np.where(far > 0, by_erfcx, by_logs)
    return (1 - q) * normal + q * np.minimum(late, 1.0)
