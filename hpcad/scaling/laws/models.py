"""Laws of time against ranks: what a model is, and the laws of speed-up.

Every law is a function of the conditions of a measurement (ranks P, problem size N, message bytes
n) with a few parameters. The laws of speed-up S(P) all say ``t = t1 N / S(P)``: t1 is the time of
one rank for one unit of work, so the throughput is S(P) / t1. They are used alike for strong
scaling (N constant) and weak scaling (N = P).

Sources
-------
Amdahl 1967, AFIPS 30, 483 (doi:10.1145/1465482.1465560). Gustafson 1988, CACM 31(5), 532
(doi:10.1145/42411.42415). Gunther 1993, CMG National Conference, and arXiv:0808.1431.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.laws.points import Array, Conditions, Points


@dataclass(frozen=True)
class Parameter:
    """One unknown of a model.

    Attributes
    ----------
    name, unit : str
    low, high : float
        Where it is looked for.
    starts : tuple of float
        From where, as if the median problem and the median message had the size 1. The fit scales
        all parameters with a ``time_power`` together until they meet the mean of the
        measurements, so only their proportions matter.
    time_power : int
        1 when times grow in proportion to it, -1 for rates, 0 for pure numbers. Parameters
        with a power are positive, and are searched on a logarithmic scale.
    per : str
        ``"size"`` for a time per unit of problem size, ``"bytes"`` for a rate in bytes.
    """

    name: str
    unit: str
    low: float
    high: float
    starts: tuple[float, ...]
    time_power: int = 0
    per: str = ""

    @property
    def is_scale(self) -> bool:
        return self.time_power != 0


def scale(
    name: str, unit: str, starts: tuple[float, ...], power: int = 1, per: str = ""
) -> Parameter:
    """A positive parameter of any size."""
    return Parameter(name, unit, 1e-18, 1e18, starts, power, per)


@dataclass(frozen=True)
class Model:
    """A law of time.

    Attributes
    ----------
    name : str
    formula : str
        As it is printed.
    parameters : tuple of Parameter
    seconds : callable
        ``seconds(conditions, *values)``; made of analytic functions, since derivatives are taken
        by complex steps (a choice between branches looks at real parts).
    fewest_ranks : int
        2 for the time of a message, which one rank does not send.
    needs_bytes : bool
    """

    name: str
    formula: str
    parameters: tuple[Parameter, ...]
    seconds: Callable[..., Array]
    fewest_ranks: int = 1
    needs_bytes: bool = False

    @property
    def names(self) -> list[str]:
        return [parameter.name for parameter in self.parameters]

    @property
    def is_scale(self) -> Array:
        """Which parameters are searched on a logarithmic scale."""
        return np.array([parameter.is_scale for parameter in self.parameters])

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Where the parameters are looked for, in the search's coordinates."""
        low = np.array([parameter.low for parameter in self.parameters])
        high = np.array([parameter.high for parameter in self.parameters])
        return self.coordinates(low), self.coordinates(high)

    def coordinates(self, values: Array) -> Array:
        """From parameters to the search's coordinates: logarithms of scales, the others as is."""
        return np.where(self.is_scale, np.log(np.where(self.is_scale, values, 1.0)), values)

    def log_seconds(self, coordinates: Array, conditions: Conditions) -> Array:
        """Logarithm of the time, for parameters ``coordinates[..., k]``: ``[..., point]``."""
        values = [
            np.exp(coordinates[..., k, None]) if parameter.is_scale else coordinates[..., k, None]
            for k, parameter in enumerate(self.parameters)
        ]
        return np.log(self.seconds(conditions, *values))

    def residuals(self, points: Points) -> Callable[[Array], Array]:
        """What a fit makes small: logarithms of the law's times over the measured ones."""
        measured = np.log(points.seconds)
        return lambda at: self.log_seconds(at, points) - measured

    def starts(self, conditions: Conditions, log_seconds: Array) -> Array:
        """Coordinates from where to search, each with the right mean: ``[start, k]``."""
        grid = itertools.product(*(parameter.starts for parameter in self.parameters))
        units = {"": 1.0, "size": 1 / np.median(conditions.size)}
        if conditions.message_bytes is not None:
            units["bytes"] = np.median(conditions.message_bytes)
        found = np.array(list(grid)) * [units[parameter.per] for parameter in self.parameters]
        found = self.coordinates(found)
        powers = np.array([parameter.time_power for parameter in self.parameters])
        missing = (log_seconds - self.log_seconds(found, conditions)).mean(axis=-1)
        return found + missing[:, None] * powers

    def check(self, conditions: Conditions) -> None:
        """Refuse conditions of which the model says nothing.

        Raises
        ------
        DataError
        """
        if self.needs_bytes and conditions.message_bytes is None:
            raise DataError(
                f"the model {self.name!r} needs message_bytes, the bytes that each rank "
                f"brings to the allreduce; give them with the points"
            )
        if (fewest := conditions.ranks.min()) < self.fewest_ranks:
            raise DataError(
                f"the model {self.name!r} is of messages between ranks, and says nothing of "
                f"{fewest:g} rank; leave these points out"
            )


# -- speed-up ------------------------------------------------------------------------------------


def _amdahl(at: Conditions, t1: Array, serial: Array) -> Array:
    return t1 * at.size * (serial + (1 - serial) / at.ranks)


def _gustafson(at: Conditions, t1: Array, serial: Array) -> Array:
    return t1 * at.size / (serial + (1 - serial) * at.ranks)


def _usl(at: Conditions, t1: Array, sigma: Array, kappa: Array) -> Array:
    others = at.ranks - 1
    return t1 * at.size * (1 + sigma * others + kappa * at.ranks * others) / at.ranks


_T1 = scale("t1", "s", (1.0,), per="size")
_SERIAL = Parameter("serial", "", 0.0, 1.0, (0.001, 0.05, 0.4))

AMDAHL = Model("amdahl", "t = t1 N (s + (1 - s) / P)", (_T1, _SERIAL), _amdahl)

GUSTAFSON = Model("gustafson", "t = t1 N / (s + (1 - s) P)", (_T1, _SERIAL), _gustafson)

USL = Model(
    "usl",
    "t = t1 N (1 + sigma (P - 1) + kappa P (P - 1)) / P",
    (
        _T1,
        Parameter("sigma", "", 0.0, 1.0, (0.001, 0.05, 0.4)),
        Parameter("kappa", "", 0.0, 1.0, (1e-6, 1e-4, 1e-2)),
    ),
    _usl,
)


def usl_peak(sigma: float, kappa: float) -> float:
    """Ranks at which the USL's throughput turns: ``sqrt((1 - sigma) / kappa)``.

    >>> usl_peak(0.19, 0.0001)
    90.0
    """
    return math.inf if kappa == 0 else math.sqrt((1 - sigma) / kappa)


def speedup(model: Model, ranks: Any, values: Sequence[float]) -> Array:
    """S(P) of a law of speed-up, from its parameters without t1.

    >>> speedup(GUSTAFSON, 10, [0.1])
    array(9.1)
    """
    return np.asarray(1 / model.seconds(Conditions(ranks), 1.0, *values))
