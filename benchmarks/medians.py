"""Medians and how sure they are, without assuming a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Samples = Sequence[float] | np.ndarray
LEVEL = 0.95  # of all intervals here


def median_interval(samples: Samples) -> tuple[float, float, float]:
    """Median, and the 95 % confidence interval of it that order statistics give.

    The interval from the k-th smallest to the k-th largest of n independent samples covers the
    median with probability ``1 - 2 P(Binomial(n, 1/2) < k)``, whatever their distribution
    (Hoefler and Belli, SC15, doi:10.1145/2807591.2807644). k is the largest that still gives 95 %;
    with fewer than 6 samples there is none, and the interval is the whole range.

    Returns
    -------
    median, low, high
    """
    ordered = np.sort(np.asarray(samples, np.float64))
    k = max(1, _rank(len(ordered)))
    return float(np.median(ordered)), float(ordered[k - 1]), float(ordered[-k])


def _rank(n: int) -> int:
    """Largest k with ``P(Binomial(n, 1/2) < k) <= (1 - LEVEL) / 2``; 0 where there is none."""
    tail, k = 0.0, 0
    while k <= n // 2:
        tail += math.exp(_log_choose(n, k) - n * math.log(2.0))
        if tail > (1.0 - LEVEL) / 2:
            return k
        k += 1
    return k


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def ratio_interval(
    above: Sequence[Samples], below: Sequence[Samples], resamples: int = 2000
) -> tuple[float, float, float]:
    """Ratio of two medians, and its 95 % bootstrap interval over rounds.

    Parameters
    ----------
    above, below : sequences of rounds, each a sequence of samples
        Rounds of the same index were measured side by side, so they are drawn together: what
        disturbs a whole round cancels.

    Returns
    -------
    ratio, low, high
    """
    a, b = np.asarray(above, np.float64), np.asarray(below, np.float64)
    draws = np.random.default_rng(0).integers(len(a), size=(resamples, len(a)))
    ratios = [np.median(a[draw]) / np.median(b[draw]) for draw in draws]
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(np.median(a) / np.median(b)), float(low), float(high)
