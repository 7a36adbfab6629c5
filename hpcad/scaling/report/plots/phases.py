"""Where a step's time goes, as stacked bars."""

from __future__ import annotations

from typing import Any

from hpcad.scaling.report.plots.style import COLOURS, HATCHES, figure


def phases(one: dict[str, Any]) -> Any:
    """A bar for every point of a series, a part for every phase; the bar is the mean step."""
    points = one["points"]
    made, axes = figure(max(6.4, 0.9 * len(points) + 3))
    names = list(dict.fromkeys(name for point in points for name in point["phases"]["rows"]))
    names.sort(key=lambda name: name in ("other", "imbalance"))
    labels = [point["name"] + ("\noversubscribed" if point["oversubscribed"] else "")
              for point in points]  # fmt: skip
    bottom = [0.0] * len(points)
    for k, name in enumerate(names):
        heights = [1e3 * point["phases"]["rows"].get(name, 0.0) for point in points]
        axes.bar(
            range(len(points)),
            heights,
            bottom=bottom,
            width=0.7,
            label=name,
            color=COLOURS[k % len(COLOURS)],
            hatch=HATCHES[k % len(HATCHES)],
            edgecolor="white",
            linewidth=0.5,
        )
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_xticks(range(len(points)), labels, rotation=30, ha="right")
    axes.grid(visible=False, axis="x")
    axes.set(ylabel="mean step (ms)", title=f"{one['name']}: phases")
    handles, texts = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], texts[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made
