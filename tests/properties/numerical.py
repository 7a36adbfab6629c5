"""Numerical directional derivatives that know when they cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import assume

Arrays = Sequence[np.ndarray]


def slope(function: Callable[..., Any], at: Arrays, along: Arrays, step: float) -> float:
    """Fourth-order central difference of a scalar function along a direction."""

    def value(scale: float) -> float:
        moved = [x + scale * step * v for x, v in zip(at, along, strict=True)]
        return float(function(*moved))

    return (8.0 * (value(1.0) - value(-1.0)) - (value(2.0) - value(-2.0))) / (12.0 * step)


def trusted_slope(
    function: Callable[..., Any], at: Arrays, along: Arrays, step: float = 1e-3
) -> float:
    """The slope, if three step sizes agree on it.

    They disagree where a kink (relu, a tie of maxima) or a steep place is near: such an example is
    passed over. Whether it is depends on function values alone, so a wrong rule cannot hide here.
    """
    coarse, middle, fine = (slope(function, at, along, step / n) for n in (1, 3, 10))
    scale = max(1.0, abs(coarse))
    assume(abs(coarse - middle) <= 2e-6 * scale)
    assume(abs(middle - fine) <= 2e-6 * scale)
    return middle


def directions(at: Arrays, seed: int = 5) -> list[np.ndarray]:
    """A random direction of unit-size components for every array."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.5, 1.0, x.shape) * rng.choice([-1.0, 1.0], x.shape) for x in at]


def inner(a: Sequence[Any], b: Sequence[Any]) -> float:
    """Sum of the inner products of corresponding arrays."""
    return float(sum(np.sum(np.asarray(x) * np.asarray(y)) for x, y in zip(a, b, strict=True)))
