"""All plots of a report, in the order in which they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hpcad.scaling.report.fits import SWEEPS
from hpcad.scaling.report.plots.phases import phases
from hpcad.scaling.report.plots.roofline import roofline
from hpcad.scaling.report.plots.scaling import efficiencies, step_times
from hpcad.scaling.report.plots.steps import distribution, lateness
from hpcad.scaling.report.reading import Study
from hpcad.scaling.report.series import grouped


def draw(report: dict[str, Any], study: Study) -> Iterator[tuple[str, str, Any]]:
    """File name, caption and figure of every plot; one figure lives at a time."""
    for sweep in SWEEPS:
        every = [one for one in report["series"] if one["sweep"] == sweep]
        if every:
            caption = f"{sweep} scaling: median step against ranks, with the ideal"
            yield f"{sweep}-time", caption, step_times(sweep, every)
            caption = f"{sweep} scaling: efficiency against ranks"
            yield f"{sweep}-efficiency", caption, efficiencies(sweep, every)
    for one in report["series"]:
        yield f"{_file(one['name'])}-phases", f"{one['name']}: phases of a step", phases(one)
    if report["roofline"]["points"]:
        caption = f"roofline per rank; {report['roofline']['counted']}"
        yield "roofline", caption, roofline(report["roofline"])
    for key, points in grouped(study.runs).items():
        caption = f"{key.name}: distribution of all timed steps"
        chosen = {point: study.runs[point] for point in points}
        yield f"{_file(key.name)}-steps", caption, distribution(key.name, chosen)
        largest = points[-1]
        if largest.ranks > 1 and key.control == "none":
            run = study.runs[largest][0]
            caption = f"{run.name}, the first run of the largest scale: lateness of ranks by step"
            yield f"{run.name}-lateness", caption, lateness(run)


def _file(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
