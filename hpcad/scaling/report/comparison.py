"""Two studies compared: is B slower than A?

At every point that both have, the ratio of medians B / A with an interval over runs. Runs are the
units, for what slows a run slows all its steps. The more points there are, the likelier one of them
looks slower by chance; so each interval has the level ``1 - 0.05 / m`` (Bonferroni 1936, m points),
and with the probability 0.95 all of them hold their true ratios. A difference is called one when
the whole interval lies beyond the tolerance, and not before.

The interval spans two: a bootstrap of the ratio of medians, and the exact one of
:mod:`hpcad.scaling.laws.ranks`. The first alone is too short at such levels for six runs (it said
"different" of 12 % of equal studies with 22 points), as it never sees more than their extremes. The
second has no such interval at all where runs are too few for m points; then there is no verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.errors import ConfigError
from hpcad.scaling.laws.interval import Interval
from hpcad.scaling.laws.medians import FEWEST, efficiency
from hpcad.scaling.laws.ranks import factor
from hpcad.scaling.report import environment
from hpcad.scaling.report.reading import Study
from hpcad.scaling.report.row import bounds, repetition_medians
from hpcad.scaling.report.table import Table, interval, milliseconds
from hpcad.scaling.study.point import Point

ERROR = 0.05  # how often a comparison of equal studies may call some point different
SLOWER, FASTER, SAME, LOST = "slower", "faster", "no difference shown", "lost"
_DRAWS = 20000  # of which the 0.05 / (2 m) at an end must be some


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    rows : list of dict
        A row for every point of both studies, as JSON can hold it.
    notices : list of str
    tolerance : float
    level : float
        Of each interval.
    """

    rows: list[dict[str, Any]]
    notices: list[str]
    tolerance: float
    level: float

    @property
    def is_regression(self) -> bool:
        """Whether some point of B is slower, or has no good run any more."""
        return any(row["verdict"] in (SLOWER, LOST) for row in self.rows)

    @property
    def judged(self) -> int:
        """How many points have a verdict."""
        return sum(row["verdict"] in (SLOWER, FASTER, SAME, LOST) for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "format": "hpcad scaling comparison 1",
            "tolerance": self.tolerance,
            "level": self.level,
            "regression": self.is_regression,
            "points": self.rows,
            "notices": self.notices,
        }

    def table(self) -> Table:
        """For a terminal."""
        found = Table(
            f"B against A; intervals hold all ratios together with 95 %, each {self.level:.4%}",
            ["point", "A ms", "B ms", "runs", "B / A", "verdict"],
        )
        for row in self.rows:
            runs = " and ".join(map(str, row["repetitions"]))
            a, b = milliseconds(row["a"]), milliseconds(row["b"])
            found.rows.append([row["point"], a, b, runs, interval(row["ratio"]), row["verdict"]])
        return found


def compare(a: Study, b: Study, tolerance: float) -> Comparison:
    """Compare the points that both studies have.

    Parameters
    ----------
    a, b : Study
        The reference, and what is judged.
    tolerance : float
        A share of the step that is no regression: B is slower where its ratio is surely above
        ``1 + tolerance``, and faster where it is surely below ``1 / (1 + tolerance)``.

    Raises
    ------
    ConfigError
        The tolerance is none, or the studies have no point in common.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ConfigError(f"the tolerance is a share of the step such as 0.05, not {tolerance}")
    lost = [p for p in a.runs if p not in b.runs and p in {run.point for run in b.refused}]
    common = [point for point in a.runs if point in b.runs]
    if not common and not lost:
        raise ConfigError(
            f"{a.directory} and {b.directory} have no point in common; compare two runs of the "
            "same study"
        )
    times = {p: (repetition_medians(a.runs[p]), repetition_medians(b.runs[p])) for p in common}
    family = max(sum(min(map(len, both)) >= FEWEST for both in times.values()), 1)
    rows = [_row(point, *both, family, tolerance) for point, both in times.items()]
    rows += [_lost(point, a) for point in lost]
    return Comparison(rows, _notices(a, b, lost), tolerance, 1 - ERROR / family)


def ratio_of_medians(first: list[float], second: list[float], level: float) -> Interval:
    """``median(second) / median(first)``; from 0 to infinity where the runs are too few."""
    drawn = efficiency(second, first, 1.0, level, _DRAWS)
    exact = factor(first, second, level)
    return Interval(drawn.value, min(drawn.low, exact.low), max(drawn.high, exact.high), level)


def _row(
    point: Point, first: list[float], second: list[float], family: int, tolerance: float
) -> dict[str, Any]:
    ratio = ratio_of_medians(first, second, 1 - ERROR / family)
    n, k = len(first), len(second)
    if min(n, k) < FEWEST:
        verdict = f"not judged: fewer than {FEWEST} runs"
    elif math.isinf(ratio.high):
        verdict = f"not judged: too few runs for {family} points"
    else:
        verdict = _verdict(ratio, tolerance)
    ends = bounds(ratio) | ({"low": None} if math.isinf(ratio.high) else {})
    return {
        "point": point.name,
        "a": float(np.median(first)),
        "b": float(np.median(second)),
        "repetitions": [n, k],
        "ratio": ends,
        "verdict": verdict,
    }


def _verdict(ratio: Interval, tolerance: float) -> str:
    if ratio.low > 1 + tolerance:
        return SLOWER
    return FASTER if ratio.high < 1 / (1 + tolerance) else SAME


def _lost(point: Point, a: Study) -> dict[str, Any]:
    """A point that B ran without one good run."""
    times = repetition_medians(a.runs[point])
    return {
        "point": point.name,
        "a": float(np.median(times)),
        "b": None,
        "repetitions": [len(times), 0],
        "ratio": None,
        "verdict": LOST,
    }


def _notices(a: Study, b: Study, lost: list[Point]) -> list[str]:
    """What else differs between the studies."""
    found = [
        f"{run.point.name} run {run.repeat} of {name} is {run.status}: {run.reason}"
        for name, study in (("A", a), ("B", b))
        for run in study.refused
    ]
    for name, study, against in (("A", a, b), ("B", b, a)):
        missing = [point for point in study.runs if point not in against.runs]
        only = [point.name for point in missing if point not in lost]
        if only:
            found.append(f"only {name} has {', '.join(only)}")
    for name, study in (("A", a), ("B", b)):
        found += [f"{name}: {told}" for told in environment.differences(study)]
    first, second = environment.common(a), environment.common(b)
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name, "absent"), second.get(name, "absent")
        if one != other:
            found.append(f"A and B differ in {name}: {one!r} and {other!r}")
    return found
