"""Student's t distribution, as far as intervals need it."""

from __future__ import annotations

import functools
import math


def between(t: float, freedom: int) -> float:
    """Probability that ``|T| <= t`` with ``freedom`` degrees of freedom.

    By the finite sums for whole degrees: Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(freedom))
    cosine = math.cos(angle)
    term = cosine if freedom % 2 else 1.0
    total = 0.0
    for k in range(1 + freedom % 2, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    if freedom % 2:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


@functools.lru_cache
def t_quantile(level: float, freedom: int) -> float:
    """The t with ``P(|T| <= t) = level``: half the width of a two-sided interval.

    >>> round(t_quantile(0.95, 10), 3)
    2.228
    """
    low, high = 0.0, 1.0
    while between(high, freedom) < level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if between(middle, freedom) < level else (low, middle)
    return high
