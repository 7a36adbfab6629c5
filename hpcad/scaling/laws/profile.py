"""Intervals by profiles of the sum of squares.

Where the sum of squares, minimised over all else with one quantity fixed at x, exceeds its minimum
by ``t^2 s^2``, the interval of x ends (Bates & Watts 1988, Nonlinear Regression Analysis and Its
Applications, chapter 6): t is Student's quantile and s^2 the variance estimate of the fit. For a
linear model this is the usual exact interval. For a nonlinear one it takes the curvature of the
model along, does not depend on how a parameter is written (time or rate, itself or its
logarithm), and ends at a bound, as an interval by covariance would not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpcad.scaling.laws.points import Array

Cost = Callable[[Array], Array]


def ends(
    cost: Cost, centre: Array, step: Array, limit: Array, best: float, excess: float
) -> tuple[Array, Array]:
    """Where profiles have risen by ``excess``; one profile and one side of it per entry.

    Parameters
    ----------
    cost : callable
        The minimal sums of squares with the quantities at x: ``[b] -> [b]``.
    centre : array [b]
        Estimates.
    step : array [b]
        Guess of the distance to the end, with its sign.
    limit : array [b]
        Beyond what the quantity does not go.
    best : float
        The minimal sum of squares.
    excess : float

    Returns
    -------
    ends : array [b]
    bounded : array of bool [b]
        False where the limit was reached before.
    """
    sign = np.sign(step)

    def inside(x: Array) -> Array:
        return np.where(sign * (x - limit) > 0, limit, x)

    # Heights are square roots: 0 at the centre, 1 at the end, straight where the model is.
    near, near_height = centre.copy(), np.zeros(len(centre))
    far, far_height = np.full(len(centre), np.nan), np.full(len(centre), np.nan)
    x = inside(centre + step)
    found, bounded = x.copy(), np.ones(len(centre), bool)
    running = np.ones(len(centre), bool)
    for _ in range(60):
        height = np.sqrt(np.maximum(cost(x) - best, 0.0) / excess)
        unbounded = running & (x == limit) & (height < 1)
        bounded &= ~unbounded
        found = np.where(running, x, found)
        running &= ~(unbounded | (np.abs(height - 1) < 1e-3))
        if not running.any():
            break
        beyond = height > 1
        far, far_height = np.where(beyond, x, far), np.where(beyond, height, far_height)
        near, near_height = np.where(beyond, near, x), np.where(beyond, near_height, height)
        with np.errstate(invalid="ignore"):
            share = np.clip((1 - near_height) / (far_height - near_height), 0.1, 0.9)
            growth = np.clip(1 / np.maximum(near_height, 1e-9), 1.2, 4.0)
            onwards = inside(centre + (near - centre) * growth)
            x = np.where(running, np.where(np.isnan(far), onwards, near + share * (far - near)), x)
    return found, bounded
