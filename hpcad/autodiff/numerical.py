"""Numerical differentiation: difference stencils, Richardson extrapolation, the complex step.

Reverse mode is exact and cheaper; these need nothing but values. They hold the rules to account,
and differentiate functions that are not made of primitives.

Sources: B. Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids",
Math. Comp. 51 (1988); C. J. F. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)",
Adv. Eng. Software 4 (1982); W. Squire and G. Trapp, "Using complex variables to estimate
derivatives of real functions", SIAM Review 40 (1998).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import value_of
from hpcad.errors import ConfigError, ShapeError

# Offset in steps -> weight; the derivative is the weighted sum of values over the step.
# Truncation error O(h^order), with the order in the name.
STENCILS: Mapping[str, Mapping[int, float]] = {
    "forward1": {0: -1.0, 1: 1.0},
    "forward2": {0: -3 / 2, 1: 2.0, 2: -1 / 2},
    "central2": {-1: -1 / 2, 1: 1 / 2},
    "central4": {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12},
    "central6": {-3: -1 / 60, -2: 3 / 20, -1: -3 / 4, 1: 3 / 4, 2: -3 / 20, 3: 1 / 60},
}

_SHRINK = 1.4  # of the step from row to row of Ridders' table
_ROWS = 10
# A function may turn on a much shorter length than the size of x: steps shorter by these are
# tried as well, and the one with the smallest estimated error is taken.
_SHORTER = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


@dataclass(frozen=True)
class NumericalDerivative:
    """A derivative and what is known of its error.

    Attributes
    ----------
    value : array
        Of the shape of the function's value.
    error : float
        Estimate of the largest error of an element.
    step : float
        The step that was used.
    """

    value: np.ndarray
    error: float
    step: float


def directional(
    function: Callable[[Any], Any],
    x: Any,
    direction: Any = None,
    *,
    method: str = "richardson",
    step: float | None = None,
) -> NumericalDerivative:
    """Derivative of ``function(x + t direction)`` with respect to ``t`` at 0.

    Parameters
    ----------
    function : callable
        Of one float64 array, returning an array.
    x : array
    direction : array of the shape of x, optional
        All ones when left out (for a scalar x: the ordinary derivative).
    method : str
        ``"richardson"`` (extrapolated central differences), ``"complex"`` (no subtraction, so
        full precision; the function must take complex arrays and be analytic), or the name of
        one of ``STENCILS``.
    step : float, optional
        Chosen from the method's order and the size of x when left out.

    Returns
    -------
    NumericalDerivative

    Raises
    ------
    ConfigError
        The method is unknown.
    ShapeError
        x and direction have different shapes.
    """
    point = np.asarray(x, np.float64)
    along = np.ones_like(point) if direction is None else np.asarray(direction, np.float64)
    if along.shape != point.shape:
        raise ShapeError(f"the direction has shape {along.shape}, but x has {point.shape}")

    def at(t: complex) -> np.ndarray:
        return np.asarray(value_of(function(point + t * along)))

    scale = _scale(point, along)
    if method == "complex":
        return _complex_step(at, 1e-100 * scale if step is None else step)
    if method == "richardson":
        starts = [0.1 * scale * s for s in _SHORTER] if step is None else [step]
        return min(
            (_ridders(at, h, _largest(point)) for h in starts), key=lambda found: found.error
        )
    if method not in STENCILS:
        known = ", ".join(["richardson", "complex", *STENCILS])
        raise ConfigError(f"unknown method {method!r}; choose one of {known}")
    order = int(method[-1])
    # Truncation grows as h^order and rounding as eps / h: the sum is least near eps^(1/(order+1)).
    longest = np.finfo(float).eps ** (1 / (order + 1)) * scale
    steps = [longest * s for s in _SHORTER] if step is None else [step]
    found = (_stencil(at, method, order, h, _largest(point)) for h in steps)
    return min(found, key=lambda each: each.error)


def numerical_gradient(
    function: Callable[[Any], Any], x: Any, *, method: str = "central4"
) -> np.ndarray:
    """Gradient of a scalar function, one coordinate after the other (``x.size`` derivatives).

    Returns
    -------
    array, shape of x
    """
    point = np.asarray(x, np.float64)
    gradient = np.empty(point.shape)
    for index in np.ndindex(point.shape):
        unit = np.zeros(point.shape)
        unit[index] = 1.0
        gradient[index] = directional(function, point, unit, method=method).value
    return gradient


def _scale(point: np.ndarray, along: np.ndarray) -> float:
    """How far ``t`` may go for x to change by about its own size (at least by 1)."""
    size = max(1.0, float(np.max(np.abs(point), initial=0.0)))
    return size / max(float(np.max(np.abs(along), initial=0.0)), np.finfo(float).tiny)


def _stencil(
    at: Callable[[float], np.ndarray], name: str, order: int, step: float, point: float
) -> NumericalDerivative:
    """The weighted sum, and its error from a stencil of twice the step and from rounding.

    Rounded are the values of the function, and the places (of size ``point``) they are taken at.
    """
    weights = STENCILS[name]

    def sum_over(h: float) -> tuple[np.ndarray, float]:
        values = {k: at(k * h) for k in weights}
        size = max(float(np.max(np.abs(v), initial=0.0)) for v in values.values())
        return np.asarray(sum(w * values[k] for k, w in weights.items()) / h), size

    fine, size = sum_over(step)
    coarse, _ = sum_over(2 * step)
    truncation = float(np.max(np.abs(coarse - fine), initial=0.0)) / (2**order - 1)
    total = sum(map(abs, weights.values()))
    rounding = np.finfo(float).eps * (size + point * _largest(fine)) * total / step
    return NumericalDerivative(fine, truncation + rounding, step)


def _ridders(at: Callable[[float], np.ndarray], step: float, point: float) -> NumericalDerivative:
    """Central differences at shrinking steps, extrapolated to step 0 (Neville's table)."""
    best: NumericalDerivative | None = None
    before: list[np.ndarray] = []
    h = step
    for _ in range(_ROWS):
        ahead, behind = at(h), at(-h)
        row = [(ahead - behind) / (2 * h)]
        # Two equal entries of the table are no proof: the values themselves are rounded.
        size = max(_largest(ahead), _largest(behind)) + point * _largest(row[0])
        rounding = np.finfo(float).eps * size / h
        factor = 1.0
        for k, earlier in enumerate(before):
            factor *= _SHRINK**2
            row.append((factor * row[k] - earlier) / (factor - 1.0))
            error = max(_largest(row[k + 1] - row[k]), _largest(row[k + 1] - earlier))
            error += rounding
            if best is None or error < best.error:
                best = NumericalDerivative(np.asarray(row[k + 1]), error, h)
        if best is not None and before and _largest(row[-1] - before[-1]) > 2 * best.error:
            break  # rounding has taken over
        before, h = row, h / _SHRINK
    assert best is not None  # the second row always sets it
    return best


def _complex_step(at: Callable[[complex], np.ndarray], step: float) -> NumericalDerivative:
    """``Im f(x + i h) / h``: nothing is subtracted, so h may be tiny."""
    value = np.imag(at(1j * step)) / step
    return NumericalDerivative(value, float(np.finfo(float).eps) * _largest(value), step)


def _largest(x: np.ndarray) -> float:
    return float(np.max(np.abs(x), initial=0.0))
