"""Medians of measured times and their ratios, without an assumption on how times scatter.

A median's interval lies between two order statistics: the number of n values below the true median
is binomial with probability 1/2, whatever their distribution, so the j-th smallest and the j-th
largest of them hold the median with probability ``1 - 2 P(B(n, 1/2) < j)`` (Hoefler & Belli 2015,
SC15; doi:10.1145/2807591.2807644; David & Nagaraja 2003, Order Statistics, section 7.1). The values
must be independent; steps of one run are so only roughly, and medians of repeated runs are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.laws.interval import Interval
from hpcad.scaling.laws.points import Array

FEWEST = 6  # the smallest number of values with a 95 % interval: 1 - 2 / 2^6 = 96.9 %


def median(values: Any, level: float = 0.95) -> Interval:
    """The median and its interval by order statistics.

    The interval's ``level`` is the true one, at least what was asked for. Of too few values for
    any such interval (fewer than six at 95 %) the ends are infinite.

    >>> str(median([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]))
    '3.5 [1, 6]'

    Raises
    ------
    DataError
        There are no values, or some are not finite.
    """
    found = np.sort(_values(values, "values"))
    rank, reached = order_of_median(len(found), level)
    value = float(np.median(found))
    if rank == 0:
        return Interval(value, -math.inf, math.inf, 1.0)
    return Interval(value, float(found[rank - 1]), float(found[-rank]), reached)


def order_of_median(count: int, level: float = 0.95) -> tuple[int, float]:
    """The largest j such that the j-th smallest and largest hold the median often enough.

    Returns
    -------
    j : int
        From 1; 0 when there is none.
    reached : float
        The probability that they hold it.

    >>> order_of_median(10)
    (2, 0.978515625)
    """
    # Whole numbers: of 2^count ways, how many have fewer than j values below the median.
    below, term, rank = 0, 1, 0
    allowed = (round((1 - level) / 2 * 2**53) << count) >> 53
    while below + term <= allowed:
        below += term
        rank += 1
        term = term * (count - rank + 1) // rank
    return rank, 1 - 2 * below / 2**count if rank else 1.0


def efficiency(
    base: Any,
    times: Any,
    ideal: float,
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> Interval:
    """Parallel efficiency ``ideal median(base) / median(times)`` with a bootstrap interval.

    Parameters
    ----------
    base : list of float
        Times of the base case.
    times : list of float
        Times at the scale that is judged.
    ideal : float
        How many times faster the scale would ideally be: ``(P0 / P) (N / N0)`` of ranks P and
        problem sizes N. That is P0 / P for strong scaling, and 1 for weak scaling.
    level : float
    draws : int
        Both sets are drawn anew, each from itself, so often; the interval holds the middle of the
        ratios (percentiles; Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13).
    seed : int
        Of the draws: the same times give the same interval.

    Returns
    -------
    Interval
        From 0 to infinity when one of the sets has fewer than six values, of which a bootstrap
        would promise too much.

    Raises
    ------
    DataError
        There are no times, or some are not positive.
    """
    first, second = _times(base, "base"), _times(times, "times")
    if not (math.isfinite(ideal) and ideal > 0):
        raise DataError(f"ideal must be positive, not {ideal}: (P0 / P) (N / N0)")
    value = float(ideal * np.median(first) / np.median(second))
    if min(len(first), len(second)) < FEWEST:
        return Interval(value, 0.0, math.inf, level)
    random = np.random.default_rng(seed)
    ratios = ideal * _drawn(first, draws, random) / _drawn(second, draws, random)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level)


def difference(
    first: Any, second: Any, level: float = 0.95, draws: int = 4000, seed: int = 0
) -> Interval:
    """``median(first) - median(second)`` with a bootstrap interval, as in :func:`efficiency`.

    Raises
    ------
    DataError
        There are no times, or some are not positive.
    """
    one, other = _times(first, "first"), _times(second, "second")
    value = float(np.median(one) - np.median(other))
    if min(len(one), len(other)) < FEWEST:
        return Interval(value, -math.inf, math.inf, level)
    random = np.random.default_rng(seed)
    drawn = _drawn(one, draws, random) - _drawn(other, draws, random)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level)


def _drawn(values: Array, draws: int, random: np.random.Generator) -> Array:
    """Medians of sets drawn with replacement."""
    return np.median(values[random.integers(len(values), size=(draws, len(values)))], axis=1)


def _times(values: Any, name: str) -> Array:
    found = _values(values, name)
    if (found <= 0).any():
        raise DataError(f"{name} must be positive times, but one is {found.min():g}")
    return found


def _values(values: Any, name: str) -> Array:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not len(found):
        raise DataError(f"{name} has the shape {found.shape}; give a list with a number or more")
    if not np.isfinite(found).all():
        raise DataError(f"{name} has an entry that is not finite; leave failed measurements out")
    return found
