"""Series of a study: points that differ in scale only, and their efficiency against a base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcad.scaling.laws.interval import Interval
from hpcad.scaling.laws.medians import efficiency
from hpcad.scaling.report.row import bounds, repetition_medians, row
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples


@dataclass(frozen=True)
class Series:
    """What the points of a series share.

    Attributes
    ----------
    sweep, variant, control : str
        As of :attr:`Point.series`.
    kept : str
        What the sweep keeps: the batch, the batch per rank, or the ranks.
    amount : float
        How much of it.
    """

    sweep: str
    variant: str
    control: str
    kept: str
    amount: float

    @property
    def name(self) -> str:
        """For people: ``strong, batch 256, communication off``."""
        kept = {"batch": "batch {}", "batch per rank": "batch {} per rank", "ranks": "{} ranks"}
        parts = [self.sweep, kept[self.kept].format(f"{self.amount:g}")]
        parts += [self.variant] if self.variant else []
        return ", ".join([*parts, *([self.control] if self.control != "none" else [])])


def series_of(point: Point) -> Series:
    """The series of a point."""
    kept, amount = "ranks", float(point.ranks)
    if point.sweep == "strong":
        kept, amount = "batch", float(point.batch)
    elif point.sweep == "weak":
        kept, amount = "batch per rank", point.batch / point.ranks
    return Series(*point.series, kept, amount)


def grouped(runs: Mapping[Point, list[Samples]]) -> dict[Series, list[Point]]:
    """The points of every series, by ranks and batch."""
    found: dict[Series, list[Point]] = {}
    for point in runs:
        found.setdefault(series_of(point), []).append(point)
    return {key: sorted(points, key=_scale) for key, points in found.items()}


def describe(
    series: Series, points: list[Point], runs: Mapping[Point, list[Samples]]
) -> dict[str, Any]:
    """A series with the rows of its points; the first point is the base of efficiencies."""
    base = points[0]
    rows = [
        {**row(point, runs[point]), "efficiency": _efficiency(base, point, runs)}
        for point in points
    ]
    return {
        "name": series.name,
        "sweep": series.sweep,
        "variant": series.variant,
        "control": series.control,
        series.kept.replace(" ", "_"): series.amount,
        "base": base.name,
        "points": rows,
    }


def _scale(point: Point) -> tuple[int, int, str]:
    return point.ranks, point.batch, point.name


def _efficiency(
    base: Point, point: Point, runs: Mapping[Point, list[Samples]]
) -> dict[str, float | None] | None:
    """Throughput per rank against that of the base; None where the models differ."""
    if point.sweep == "model":
        return None
    if point == base:
        return bounds(Interval(1.0, 1.0, 1.0))
    ideal = base.ranks / point.ranks * point.batch / base.batch
    found = efficiency(repetition_medians(runs[base]), repetition_medians(runs[point]), ideal)
    low = None if found.low == 0.0 else found.low
    return {**bounds(found), "low": low}
