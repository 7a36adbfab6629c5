"""Bounded nonlinear least squares, for many problems at once.

Levenberg-Marquardt (Marquardt 1963, J. SIAM 11, 431; doi:10.1137/0111030) with the columns of the
Jacobian scaled to length one, and bounds by projection: a parameter at a bound that wants to go on
is left out of the step, and steps are clipped. Derivatives are those of complex steps, exact to
rounding (Squire & Trapp 1998, SIAM Rev. 40, 110; doi:10.1137/S003614459631241X). The problems
of a batch share their shapes and go through their iterations together, so several starts, or the
points of a profile, cost little more than one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpcad.scaling.laws.points import Array

_STEP = 1e-30
_MOST_DAMPING = 1e12

Residuals = Callable[[Array], Array]


def derivatives(residuals: Residuals, at: Array) -> tuple[Array, Array]:
    """Residuals ``[b, n]`` and their Jacobians ``[b, n, k]`` at the points ``at[b, k]``.

    ``residuals`` takes complex points ``[b, k, k]``, the b-th problem's at ``[b]``.
    """
    found = residuals(at[:, None, :] + 1j * _STEP * np.eye(at.shape[1]))
    return found[:, 0].real, np.swapaxes(found.imag, 1, 2) / _STEP


def minimise(
    residuals: Residuals,
    start: Array,
    low: Array,
    high: Array,
    held: Array | None = None,
    tolerance: float = 1e-10,
    most: int = 200,
) -> tuple[Array, Array]:
    """Minimise the sums of squares of residuals.

    Parameters
    ----------
    residuals : callable
        As for :func:`derivatives`.
    start : array [b, k]
    low, high : array [k]
    held : array of bool [b, k], optional
        Parameters that stay where they are.
    tolerance : float
        A problem is done when a step betters its sum by less than this share.
    most : int
        Iterations.

    Returns
    -------
    points : array [b, k]
    sums : array [b]
    """
    at = np.clip(start, low, high) if held is None else np.where(held, start, start.clip(low, high))
    held = np.zeros(at.shape, bool) if held is None else held
    found, slopes = derivatives(residuals, at)
    sums = (found**2).sum(axis=1)
    damping = np.full(len(at), 1e-3)
    running = np.ones(len(at), bool)
    for _ in range(most):
        step = _step(found, slopes, held, at <= low, at >= high, damping)
        tried = np.where(held, at, np.clip(at + step, low, high))
        tried_found, tried_slopes = derivatives(residuals, tried)
        tried_sums = (tried_found**2).sum(axis=1)
        better = running & (tried_sums < sums)  # False where it is not a number
        small = better & (sums - tried_sums <= tolerance * sums)
        stuck = ~better & (damping >= _MOST_DAMPING)
        at = np.where(better[:, None], tried, at)
        found = np.where(better[:, None], tried_found, found)
        slopes = np.where(better[:, None, None], tried_slopes, slopes)
        sums = np.where(better, tried_sums, sums)
        running &= ~(small | stuck)
        if not running.any():
            break
        damping = np.where(better, np.maximum(damping * 0.1, 1e-9), damping * 10)
    return at, sums


def _step(
    found: Array, slopes: Array, held: Array, at_low: Array, at_high: Array, damping: Array
) -> Array:
    """The damped Gauss-Newton step of every problem; 0 for parameters that are not to move."""
    slope = np.einsum("bnk,bn->bk", slopes, found)
    held = held | (at_low & (slope > 0)) | (at_high & (slope < 0))
    slopes = np.where(held[:, None, :], 0.0, slopes)
    lengths = np.sqrt((slopes**2).sum(axis=1))
    lengths = np.where(lengths > 0, lengths, 1.0)
    scaled = slopes / lengths[:, None, :]
    matrix = np.swapaxes(scaled, 1, 2) @ scaled
    matrix += damping[:, None, None] * np.eye(slopes.shape[2])
    right = np.where(held, 0.0, slope) / lengths
    return -np.linalg.solve(matrix, right[..., None])[..., 0] / lengths
