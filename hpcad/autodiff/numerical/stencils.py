"""Difference stencils of any order.

See B. Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", Math. Comp.
51 (1988).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

from hpcad.errors import ConfigError

RICHARDSON_ORDER = 8  # the accuracy to expect of the table is that of a stencil of this order


@lru_cache
def stencil(name: str, derivative: int = 1) -> Mapping[int, float]:
    """Weights by offset, in steps: the derivative is their weighted sum over ``step^derivative``.

    Parameters
    ----------
    name : str
        ``forward``, ``backward`` or ``central``, and the order: the truncation error is
        ``O(step^order)``. Central ones have even orders.
    derivative : int

    Notes
    -----
    The weights are the derivatives at 0 of the Lagrange polynomials of the offsets, in exact
    arithmetic.
    """
    kind, order = _parsed(name)
    reach = order + derivative - 1
    if kind == "central":
        reach = order // 2 + (derivative - 1) // 2
        offsets = range(-reach, reach + 1)
    else:
        offsets = range(reach + 1) if kind == "forward" else range(-reach, 1)
    weights = {}
    for k in offsets:
        polynomial = [Fraction(1)]
        for m in offsets:
            if m != k:  # times (x - m) / (k - m)
                shifted = [Fraction(0), *polynomial]
                constant = [-m * c for c in polynomial] + [Fraction(0)]
                polynomial = [(a + b) / (k - m) for a, b in zip(shifted, constant, strict=True)]
        weights[k] = float(polynomial[derivative] * math.factorial(derivative))
    return {k: w for k, w in weights.items() if w != 0.0}


def _parsed(name: str) -> tuple[str, int]:
    match = re.fullmatch("(forward|backward|central)([1-9][0-9]?)", name)
    if match is None or (match[1] == "central" and int(match[2]) % 2):
        raise ConfigError(
            f"unknown method {name!r}; choose richardson, complex, or a stencil: forward1, "
            "forward2, ..., backward1, ..., central2, central4, ..."
        )
    return match[1], int(match[2])


def order_of(method: str) -> int:
    """Order of the truncation error."""
    return RICHARDSON_ORDER if method == "richardson" else _parsed(method)[1]
