"""One law fitted to measured times, with intervals.

Noise
-----
``log t_i = log f(P_i, N_i, n_i) + e_i``, with independent normal ``e_i`` of one unknown variance:
times are positive, and scatter by a share of themselves. The fit is thus one of medians, and its
``noise`` is the standard deviation of one measurement as a share of the time. Independence is what
a study must provide: repetitions in random order, each a start of its own.

Intervals
---------
Profiles of the sum of squares with Student's t (:mod:`hpcad.scaling.laws.profile`). Against the
alternatives: intervals by covariance are wrong where a law is curved or a parameter is close to a
bound; a bootstrap of a handful of points draws from too few residuals, and costs a thousand fits.

A prediction is profiled as well: the new measurement y becomes one more point of the fit, and
its interval holds every y that raises the minimal sum of squares by no more than ``t^2 s^2``. For a
linear model this is the exact prediction interval, ``y ± t s sqrt(1 / m + h)``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.laws.interval import Interval
from hpcad.scaling.laws.least_squares import Residuals, derivatives, minimise
from hpcad.scaling.laws.models import Model
from hpcad.scaling.laws.points import Array, Conditions, Points
from hpcad.scaling.laws.profile import ends
from hpcad.scaling.laws.student import t_quantile
from hpcad.scaling.laws.sufficiency import check_distinct, check_number

# No clock tells times apart that differ by less than this share.
_LEAST_NOISE = 1e-10


def fit(model: Model, points: Points, level: float = 0.95) -> Fit:
    """Fit a law to measurements.

    Parameters
    ----------
    model : Model
    points : Points
    level : float
        Of the intervals.

    Raises
    ------
    DataError
        There are too few points, they are no measurements of what the model describes, or they
        cannot tell its parameters apart.
    """
    if not 0 < level < 1:
        raise DataError(f"the level of intervals is a probability such as 0.95, not {level}")
    check_number(model, points)
    model.check(points)
    measured = np.log(points.seconds)
    low, high = model.bounds
    starts = model.starts(points, measured)
    found, sums = minimise(model.residuals(points), starts, low, high, tolerance=1e-13)
    best = int(np.argmin(sums))
    check_distinct(model, points, found[best])
    return Fit(model, points, found[best], float(sums[best]), level)


@dataclass(frozen=True, eq=False)
class Fit:
    """What :func:`fit` found.

    Attributes
    ----------
    model : Model
    points : Points
    coordinates : array
        The parameters as the search has them.
    squares : float
        Sum of the squared logarithmic residuals.
    level : float
        Of the intervals.
    """

    model: Model
    points: Points
    coordinates: Array
    squares: float
    level: float

    @property
    def values(self) -> dict[str, float]:
        """The parameters, without intervals."""
        shown = np.where(self.model.is_scale, np.exp(self.coordinates), self.coordinates)
        return dict(zip(self.model.names, shown.tolist(), strict=True))

    @property
    def freedom(self) -> int:
        """Degrees of freedom: times without parameters."""
        return len(self.points) - len(self.model.parameters)

    @property
    def noise(self) -> float:
        """Standard deviation of one measurement, as a share of it."""
        return max(math.sqrt(self.squares / self.freedom), _LEAST_NOISE)

    @property
    def aicc(self) -> float:
        """Akaike's criterion, corrected for few points; less is better.

        ``n log(SS / n) + 2 K + 2 K (K + 1) / (n - K - 1)``, where K counts the parameters and the
        noise (Hurvich & Tsai 1989, Biometrika 76, 297; doi:10.1093/biomet/76.2.297).
        """
        n, k = len(self.points), len(self.model.parameters) + 1
        variance = max(self.squares / n, _LEAST_NOISE**2)
        return n * math.log(variance) + 2 * k + 2 * k * (k + 1) / (n - k - 1)

    @functools.cached_property
    def parameters(self) -> dict[str, Interval]:
        """The parameters with their intervals, by name."""
        count = len(self.model.parameters)
        which, side = np.tile(np.arange(count), 2), np.repeat([-1.0, 1.0], count)
        low, high = self.model.bounds
        limit = np.where(side < 0, low[which], high[which])
        width = np.sqrt(np.maximum(np.diag(self._covariance), 0.0))[which] * self._t
        width = np.where(width > 1e-12, width, 1.0)  # nothing known: a scale too small to be seen
        width = np.minimum(width, np.where(self.model.is_scale, 3.0, 0.5)[which])
        held = np.arange(count) == which[:, None]

        def apply(at: Array, x: Array) -> Array:
            return np.where(held, x[:, None], at)

        cost = _warm(self.model.residuals(self.points), self._repeated(2 * count), apply, self)
        x, bounded = ends(
            lambda x: cost(x, held),
            self.coordinates[which],
            side * width,
            limit,
            self.squares,
            self._excess,
        )
        return {
            parameter.name: self._interval(
                k, x[[k, k + count]].tolist(), bounded[[k, k + count]].tolist()
            )
            for k, parameter in enumerate(self.model.parameters)
        }

    def seconds(self, conditions: Conditions) -> Array:
        """The law's time under some conditions."""
        self.model.check(conditions)
        return np.exp(self.model.log_seconds(self.coordinates, conditions))

    def predict(self, conditions: Conditions, repetitions: float = 1) -> list[Interval]:
        """Between what the time of new measurements will lie.

        Parameters
        ----------
        conditions : Conditions
            Of every prediction; with one entry, a list of one is returned.
        repetitions : float
            The interval is that of the geometric mean of so many new measurements;
            ``math.inf`` for the interval of the law itself.
        """
        self.model.check(conditions)
        sent = conditions.message_bytes
        arrays = [conditions.ranks, conditions.size, *([] if sent is None else [sent])]
        columns = [column.ravel() for column in np.broadcast_arrays(*arrays)]
        count = len(columns[0])
        weight = min(float(repetitions), 1e4 * len(self.points))
        new = Conditions(*(np.tile(column, 2)[:, None, None] for column in columns))
        old = self.model.residuals(self.points)
        centre, slope = derivatives(
            lambda at: self.model.log_seconds(at, Conditions(*columns)), self.coordinates[None]
        )
        leverage = np.einsum("ni,ij,nj->n", slope[0], self._covariance, slope[0])
        width = self._t * np.sqrt(self.noise**2 / weight + np.maximum(leverage, 0.0))
        side = np.repeat([-1.0, 1.0], count)
        target = np.tile(centre[0], 2)

        def residuals(at: Array) -> Array:
            missed = self.model.log_seconds(at, new) - target[:, None, None]
            return np.concatenate([old(at), math.sqrt(weight) * missed], axis=-1)

        def cost(x: Array) -> Array:
            target[:] = x
            return minimised(x, None)

        minimised = _warm(residuals, self._repeated(2 * count), lambda at, x: at, self)
        infinite = side * math.inf
        x, _ = ends(
            cost, target.copy(), side * np.tile(width, 2), infinite, self.squares, self._excess
        )
        low, high = np.exp(x[:count]), np.exp(x[count:])
        return [
            Interval(float(value), float(least), float(most), self.level)
            for value, least, most in zip(np.exp(centre[0]), low, high, strict=True)
        ]

    # -- what the intervals are made of ----------------------------------------------------------

    @property
    def _t(self) -> float:
        return t_quantile(self.level, self.freedom)

    @property
    def _excess(self) -> float:
        return (self._t * self.noise) ** 2

    @functools.cached_property
    def _covariance(self) -> Array:
        """Of the coordinates, for the width where the search for an end begins."""
        _, slopes = derivatives(self.model.residuals(self.points), self.coordinates[None])
        return self.noise**2 * np.linalg.pinv(slopes[0].T @ slopes[0])

    def _repeated(self, times: int) -> Array:
        return np.tile(self.coordinates, (times, 1))

    def _interval(self, k: int, between: list[float], bounded: list[bool]) -> Interval:
        value = self.values[self.model.names[k]]
        if self.model.parameters[k].is_scale:
            low, high = map(math.exp, between)
            low, high = low if bounded[0] else 0.0, high if bounded[1] else math.inf
        else:
            low, high = between
        return Interval(value, low, high, self.level)


def _warm(
    residuals: Residuals, start: Array, apply: Callable[[Array, Array], Array], found: Fit
) -> Callable[[Array, Array | None], Array]:
    """Minimal sums of squares at x.

    Each search begins where that of the last x ended and, for laws with a bend (the overlap) at
    which it may have been held up, at the best parameters of all, too.
    """
    low, high = found.model.bounds
    state = optimum = start

    def cost(x: Array, held: Array | None) -> Array:
        nonlocal state
        near, sums = minimise(residuals, apply(state, x), low, high, held, tolerance=1e-7)
        anew, others = minimise(residuals, apply(optimum, x), low, high, held, tolerance=1e-7)
        better = others < sums
        state = np.where(better[:, None], anew, near)
        return np.where(better, others, sums)

    return cost
