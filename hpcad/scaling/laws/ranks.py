"""By what factor one set of times is longer than another, with an interval that is exact.

If the times B are distributed as the times A but for a factor r, the number of pairs with
``b / r > a`` is distributed as the Mann-Whitney statistic U, whatever the distribution of times. So
the factor lies between the k-th smallest and the k-th largest of all quotients b / a with the
probability ``1 - 2 P(U < k)`` (Mann & Whitney 1947, Ann. Math. Stat. 18, 50; the interval is that
of Moses, in Hollander, Wolfe & Chicken 2014, Nonparametric Statistical Methods, section 4.3).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.scaling.laws.interval import Interval


def factor(base: Any, times: Any, level: float = 0.95) -> Interval:
    """The median quotient ``times / base`` and its interval.

    The ends are 0 and infinite where the values are too few for the level.

    >>> str(factor([1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3]))
    '1.871 [1.538, 2.3]'

    Parameters
    ----------
    base, times : list of float
        Positive and independent.
    level : float
        At least so often the interval holds the factor.
    """
    a, b = np.asarray(base, dtype=np.float64), np.asarray(times, dtype=np.float64)
    quotients = np.sort((b[:, None] / a).ravel())
    value = float(np.median(quotients))
    place, reached = order_of_quotients(len(a), len(b), level)
    if place == 0:
        return Interval(value, 0.0, math.inf, 1.0)
    return Interval(value, float(quotients[place - 1]), float(quotients[-place]), reached)


def order_of_quotients(first: int, second: int, level: float) -> tuple[int, float]:
    """The largest k such that the k-th smallest and largest quotient hold the factor often enough.

    Returns
    -------
    k : int
        From 1; 0 when there is none.
    reached : float

    >>> order_of_quotients(4, 4, 0.95)
    (1, 0.9714285714285714)
    """
    total = math.comb(first + second, first)
    below, k = 0, 0
    for ways in _ways(first, second):
        if 2 * (below + ways) > (1 - level) * total:
            break
        below += ways
        k += 1
    return k, 1 - 2 * below / total if k else 1.0


def _ways(first: int, second: int) -> list[int]:
    """In how many orders of both sets U is 0, 1, 2, ...: a Gaussian binomial coefficient.

    ``prod (1 - x^(second + i)) / (1 - x^i)`` for i up to ``first``, as the coefficients of x.
    """
    counts = [1] + [0] * (first * second)
    for i in range(1, first + 1):
        for u in range(len(counts) - 1, second + i - 1, -1):
            counts[u] -= counts[u - second - i]
        for u in range(i, len(counts)):
            counts[u] += counts[u - i]
    return counts
