"""Derivatives of a function of one number from samples: stencils, Richardson, the complex step.

The function returns a flat vector. Every element gets an error estimate of its own: the truncation
error as seen by comparing step sizes, plus the rounding of the values, which is measured.

Sources: C. J. F. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)",
Adv. Eng. Software 4 (1982); J. J. Moré and S. M. Wild, "Estimating computational noise", SIAM J.
Sci. Comput. 33 (2011); W. Squire and G. Trapp, "Using complex variables to estimate derivatives of
real functions", SIAM Review 40 (1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hpcad.autodiff.numerical.stencils import order_of, stencil

Line = Callable[[complex], np.ndarray]  # t -> values of the function at x + t v

_SHRINK = 1.4  # of the step from row to row of Ridders' table
_ROWS = 10
_SETTLED = 30.0  # times the error to expect: no further steps are tried
_COARSEST = 1e-2  # of rounding inside a function, relative to its values
_PROBES = range(-4, 5)  # samples, in spacings, from whose differences the rounding is measured


@dataclass(frozen=True)
class Slope:
    """A derivative of each element, the estimate of its error, and the step it was taken with."""

    value: np.ndarray
    error: np.ndarray
    step: np.ndarray

    def but(self, mask: np.ndarray, other: Slope) -> Slope:
        """This one, and where the mask is set the other one."""
        return Slope(
            np.where(mask, other.value, self.value),
            np.where(mask, other.error, self.error),
            np.where(mask, other.step, self.step),
        )

    def better(self, other: Slope) -> Slope:
        """Of each element, the one with the smaller estimate."""
        return self.but(other.error < self.error, other)


def slope_of(value: np.ndarray, error: np.ndarray, step: float) -> Slope:
    """One attempt; what is not finite is of no use."""
    good = np.isfinite(value) & np.isfinite(error)
    return Slope(value, np.where(good, error, np.inf), np.full(value.shape, step))


# -- stencils -----------------------------------------------------------------------------


def by_stencil(
    line: Line, method: str, step: float, derivative: int, noise: np.ndarray, eps: float
) -> Slope:
    """The weighted sum; its error from a stencil of twice the step and from the rounding."""
    weights = stencil(method, derivative)

    def sum_over(h: float) -> tuple[np.ndarray, np.ndarray]:
        values = {k: line(k * h) for k in weights}
        total = sum(w * values[k] for k, w in weights.items()) / h**derivative
        return np.asarray(total), np.max(np.abs(list(values.values())), axis=0)

    fine, size = sum_over(step)
    coarse, _ = sum_over(2 * step)
    # Between the estimate for a smooth function and the bound for any: their geometric mean.
    truncation = np.abs(coarse - fine) / math.sqrt(2.0 ** order_of(method) - 1)
    gain = sum(map(abs, weights.values())) / step**derivative
    return slope_of(fine, truncation + np.maximum(noise, eps * size) * gain, step)


# -- Richardson extrapolation -------------------------------------------------------------


def by_richardson(line: Line, step: float, derivative: int, noise: np.ndarray, eps: float) -> Slope:
    """Central differences at shrinking steps, extrapolated to step 0 (Neville's table)."""
    middle = line(0.0) if derivative == 2 else None
    best: Slope | None = None
    before: list[np.ndarray] = []
    h = step
    for _ in range(_ROWS):
        ahead, behind = line(h), line(-h)
        if middle is None:
            row = [(ahead - behind) / (2 * h)]
        else:
            row = [((ahead - middle) + (behind - middle)) / h**2]
        # Two equal entries of the table are no proof: the values themselves are rounded.
        size = np.maximum(np.abs(ahead), np.abs(behind))
        rounding = np.maximum(noise, eps * size) * 2.0**derivative / (2 * h) ** derivative
        factor = 1.0
        for k, earlier in enumerate(before):
            factor *= _SHRINK**2
            row.append((factor * row[k] - earlier) / (factor - 1.0))
            rounding = rounding * ((factor + 1.0) / (factor - 1.0))
            change = np.maximum(np.abs(row[k + 1] - row[k]), np.abs(row[k + 1] - earlier))
            found = slope_of(row[k + 1], change + rounding, h)
            best = found if best is None else best.better(found)
        if best is not None and settled(best, "richardson", derivative, eps):
            break
        before, h = row, h / _SHRINK
    assert best is not None  # the second row always sets it
    return best


# -- the complex step ---------------------------------------------------------------------


def by_complex_step(line: Line, step: float, plain: Slope, place: float, eps: float) -> Slope:
    """``Im f(x + i h) / h``: nothing is subtracted, so h may be tiny.

    Of a function that is not analytic this is something else than the derivative: where it is
    further from a plain difference than that may be off, the distance is the error.
    """

    def slope(t: complex) -> np.ndarray:
        return np.imag(line(t + 1j * step)) / step

    value = slope(0.0)
    distance = np.abs(value - plain.value)
    distance = np.where(distance > 10 * plain.error, distance, 0.0)
    rounding = np.maximum(4 * eps * np.abs(value), 4 * measured_noise(slope, place, eps))
    return slope_of(value, np.maximum(rounding, distance), step)


# -- rounding, and the choice of steps ----------------------------------------------------


def measured_noise(line: Line, place: float, eps: float) -> np.ndarray:
    """Size of the errors in the values that come from rounding them and their places.

    A smooth function hardly changes over tiny spacings, and what it does change its low
    differences take up: the high ones show the rounding. Where it does not change at all, its
    values are coarse, and wider spacings show their steps.
    """
    noise, _, _ = _noise_at(line, 16 * eps, place, eps)
    stuck = np.ones(noise.shape, bool)
    for spacing in (eps**0.5, 100 * eps**0.5, 1e-2):
        found, size, still = _noise_at(line, spacing, place, eps)
        # What is not small is no rounding: the function turns so quickly.
        found = np.where(found < _COARSEST * size, found, 0.0)
        noise = np.where(stuck, np.maximum(noise, found), noise)
        stuck &= still
        if not stuck.any():
            break
    return np.where(np.isnan(noise), np.inf, noise)


def _noise_at(
    line: Line, spacing: float, place: float, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The noise seen at one spacing, the size of the values, and where most of them are equal."""
    values = np.array([line(k * spacing * place) for k in _PROBES])
    change = np.diff(values, axis=0)
    of_places = np.abs(values[-1] - values[0]) / (len(_PROBES) - 1) * (eps / spacing)
    stuck = np.count_nonzero(change == 0, axis=0) > len(_PROBES) // 2
    return np.maximum(_roughness(change), of_places), np.max(np.abs(values), axis=0), stuck


def _roughness(table: np.ndarray) -> np.ndarray:
    """Standard deviation of independent errors, as the differences of high order have it."""
    found = []
    for k in range(2, 7):
        table = np.diff(table, axis=0)
        if k >= 5:
            scale = math.factorial(k) ** 2 / math.factorial(2 * k)
            found.append(np.sqrt(scale * np.mean(np.abs(table) ** 2, axis=0)))
    return np.max(found, axis=0)


def steps_to_try(method: str, scale: float, place: float, derivative: int, eps: float) -> list:
    """Steps to start from, the likeliest first.

    A function may turn on a length that is much shorter or longer than its argument (or than 1).
    """
    if method == "richardson":
        fraction = 0.1
    else:
        # Truncation grows as h^order and rounding as eps / h^derivative: least together near this.
        fraction = eps ** (1 / (order_of(method) + derivative))
    steps = [fraction * scale * 10.0**-k for k in (0, 1, 2, 3, 4, 5, 7, 9, 11)]
    steps = [h for h in steps if h > 300 * eps * scale]  # below there is nothing but rounding
    if 0 < place < 0.5 * scale:
        steps += [fraction * place * s for s in (1.0, 1e-1, 1e-2, 1e-3)]
    return [*steps, *(fraction * scale * s for s in (1e1, 1e2, 1e3))]


def settled(found: Slope, method: str, derivative: int, eps: float) -> bool:
    """Whether the error is about what the method can give."""
    order = order_of(method)
    expected = eps ** (order / (order + derivative))
    sizes = np.abs(found.value)
    sizes = np.maximum(sizes, 1e-3 * np.max(sizes, initial=0.0))  # an element may be 0
    return bool(np.all(found.error <= _SETTLED * expected * sizes))


def differentiate(
    line: Line, method: str, steps: Iterable[float], derivative: int, noise: np.ndarray, eps: float
) -> Slope:
    """Of every element, the derivative at the step that seems best."""
    tried = []
    for step in steps:
        if method == "richardson":
            found = by_richardson(line, step, derivative, noise, eps)
        else:
            found = by_stencil(line, method, step, derivative, noise, eps)
        tried.append((step, found))
        if settled(found, method, derivative, eps):
            break
    return _agreed([found for _, found in sorted(tried, key=lambda pair: pair[0])])


def _agreed(found: Sequence[Slope]) -> Slope:
    """Of every element, the best of the estimates that agree with all from shorter steps.

    An estimate from a very long step may look precise because it hardly depends on the function:
    a difference of bounded values over a long step is always small. At the shortest steps there is
    nothing but rounding, which is known (O. Lepski's rule of choosing a bandwidth).
    """
    best, trusted = found[0], np.ones(found[0].value.shape, bool)
    for longer in found[1:]:
        known = np.isfinite(best.error) & np.isfinite(longer.error)
        with np.errstate(invalid="ignore"):
            apart = np.abs(longer.value - best.value) > longer.error + best.error
        trusted &= ~(known & apart)
        best = best.but(trusted & (longer.error < best.error), longer)
    return best
