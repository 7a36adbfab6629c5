"""Step time and efficiency against ranks."""

from __future__ import annotations

from typing import Any

from hpcad.scaling.report.plots.style import bars, figure, looks, ticks_at_ranks

Series = dict[str, Any]


def step_times(sweep: str, every: list[Series]) -> Any:
    """Median steps with intervals, and ideal lines; both axes logarithmic.

    Only the ideal is a line: it is known between the points, and the measurements are not.
    """
    made, axes = figure()
    seen: list[int] = []
    for one, look in zip(every, looks(), strict=False):
        points = one["points"]
        ranks = [point["ranks"] for point in points]
        seen += ranks
        for k, point in enumerate(points):
            axes.errorbar(
                point["ranks"],
                1e3 * point["median"]["value"],
                yerr=bars(point["median"], 1e3),
                fillstyle="none" if point["oversubscribed"] else "full",
                label=one["name"] if k == 0 else None,
                capsize=3,
                linestyle="none",
                **look,
            )
        base = points[0]
        ideal = [
            1e3 * base["median"]["value"] * base["ranks"] / count * _work(point) / _work(base)
            for count, point in zip(ranks, points, strict=True)
        ]
        axes.plot(ranks, ideal, "--", linewidth=1, color=look["color"], alpha=0.7)
    axes.set_yscale("log")
    ticks_at_ranks(axes, seen)
    axes.set(xlabel="ranks", ylabel="median step (ms)", title=f"{sweep} scaling: step time")
    _explain(axes, every, "dashed: ideal")
    return made


def efficiencies(sweep: str, every: list[Series]) -> Any:
    """Efficiency with intervals against ranks."""
    made, axes = figure()
    seen: list[int] = []
    for one, look in zip(every, looks(), strict=False):
        for k, point in enumerate(one["points"]):
            seen.append(point["ranks"])
            axes.errorbar(
                point["ranks"],
                100 * point["efficiency"]["value"],
                yerr=bars(point["efficiency"], 100),
                fillstyle="none" if point["oversubscribed"] else "full",
                label=one["name"] if k == 0 else None,
                capsize=3,
                linestyle="none",
                **look,
            )
    axes.axhline(100, linestyle="--", linewidth=1, color="black", alpha=0.7)
    axes.set_ylim(bottom=0)
    ticks_at_ranks(axes, seen)
    axes.set(xlabel="ranks", ylabel="efficiency (%)", title=f"{sweep} scaling: efficiency")
    _explain(axes, every, "bars: 95 %, where there are six runs or more")
    return made


def _work(point: dict[str, Any]) -> float:
    return float(point["batch"])


def _explain(axes: Any, every: list[Series], text: str) -> None:
    crowded = any(point["oversubscribed"] for one in every for point in one["points"])
    axes.legend(title=text + ("\nhollow: oversubscribed" if crowded else ""))
