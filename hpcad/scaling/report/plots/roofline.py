"""The roofline with measured roofs."""

from __future__ import annotations

from typing import Any

from hpcad.scaling.report.plots.style import COLOURS, MARKERS, figure


def roofline(found: dict[str, Any]) -> Any:
    """Rate against intensity, per rank, under the roofs that the same number of ranks measured.

    Arrows point to lower intensities: more bytes are moved than are counted.
    """
    points = found["points"]
    made, axes = figure()
    counts = sorted({point["ranks"] for point in points})
    left = min(point["intensity"] for point in points) / 4
    right = max(max(point["intensity"], _ridge(point)) for point in points) * 4
    for k, count in enumerate(counts):
        colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        chosen = [point for point in points if point["ranks"] == count]
        roof = chosen[0]
        corners = [left, min(max(_ridge(roof), left), right), right]
        heights = [min(roof["peak_flops"], x * roof["memory_bandwidth"]) / 1e9 for x in corners]
        axes.plot(corners, heights, color=colour, linewidth=1)
        hollow = "none" if any(point["oversubscribed"] for point in chosen) else colour
        x = [point["intensity"] for point in chosen]
        y = [point["flops_per_second"] / 1e9 for point in chosen]
        ranks = f"{count} rank{'s' if count > 1 else ''}"
        axes.scatter(x, y, color=colour, facecolors=hollow, marker=marker, label=ranks, zorder=3)
        for place in zip(x, y, strict=True):
            axes.annotate(
                "",
                xytext=place,
                xy=(place[0] / 1.6, place[1]),
                arrowprops={"arrowstyle": "->", "color": colour},
            )
    axes.set(xscale="log", yscale="log", xlim=(left, right))
    axes.set(xlabel="intensity (FLOP/B), at most", ylabel="GFLOP/s per rank")
    axes.set_title("roofline: measured GEMM and triad of the ranks")
    crowded = any(point["oversubscribed"] for point in points)
    axes.legend(title="hollow: oversubscribed" if crowded else None)
    return made


def _ridge(point: dict[str, Any]) -> float:
    """The intensity at which the roofs meet."""
    return float(point["peak_flops"] / point["memory_bandwidth"])
