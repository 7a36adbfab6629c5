"""The report of a study: one tree of numbers and texts, of which tables and page are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpcad.errors import DataError
from hpcad.scaling.report import environment
from hpcad.scaling.report.controls import controls
from hpcad.scaling.report.fits import communication_fits, series_fits
from hpcad.scaling.report.reading import Study
from hpcad.scaling.report.roofline import COUNTED, roofline
from hpcad.scaling.report.rules import RULES
from hpcad.scaling.report.series import describe, grouped

FORMAT = "hpcad scaling report 1"


def make_report(study: Study, oversubscribed: bool = False) -> dict[str, Any]:
    """Compute the report.

    Parameters
    ----------
    study : Study
    oversubscribed : bool
        Whether laws are fitted to oversubscribed points, too.

    Returns
    -------
    dict
        As JSON can hold it; None stands for figures that do not exist and for ends of intervals
        that nothing bounds. Seconds, bytes, and operations, per second where a name says so.

    Raises
    ------
    DataError
        The phases of a point do not sum to its steps.
    """
    series = []
    for key, points in grouped(study.runs).items():
        found = describe(key, points, study.runs)
        found["fits"] = series_fits(points, study.runs, oversubscribed)
        series.append(found)
    rows = [row for one in series for row in one["points"]]
    by_name = {point.name: runs for point, runs in study.runs.items()}
    places = [roofline(row, by_name[row["name"]]) for row in rows if row["control"] == "none"]
    differences, alone = controls(study.runs)
    return {
        "format": FORMAT,
        "name": study.name,
        "good_runs": sum(map(len, study.runs.values())),
        "refused": [
            {
                "point": run.point.name,
                "repeat": run.repeat,
                "status": run.status,
                "reason": run.reason,
            }
            for run in study.refused
        ],
        "notices": [*study.notices, *environment.differences(study), *alone, *_warnings(series)],
        "series": series,
        "controls": differences,
        "communication": communication_fits(study.runs, oversubscribed),
        "roofline": {"counted": COUNTED, "points": [place for place in places if place]},
        "environment": environment.common(study),
        "rules": list(RULES),
        "plan": study.plan,
    }


def _warnings(series: list[dict[str, Any]]) -> list[str]:
    """What a reader could overlook in the tables."""
    rows = [row for one in series for row in one["points"]]
    few = sorted({row["repetitions"] for row in rows if row["median"]["basis"] == "steps"})
    found = []
    if few:
        found.append(
            f"points with fewer than six repetitions (here {', '.join(map(str, few))}) have no "
            "95 % interval over repetitions: that of their median is over steps, and their "
            "efficiencies have none"
        )
    crowded = [row["name"] for row in rows if row["oversubscribed"]]
    if crowded:
        found.append(f"ranks share cores (oversubscribed) in {', '.join(crowded)}")
    for one in series:
        first = one["points"][0]
        is_scaled = first["sweep"] in ("strong", "weak") and first["control"] == "none"
        if is_scaled and first["ranks"] > 1:
            found.append(
                f"the base of {one['name']} is {first['ranks']} ranks, not a single process"
            )
    return found


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write ``report.json``.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}; choose another --output") from error
