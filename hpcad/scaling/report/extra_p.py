"""Export for Extra-P, which models performance from JSON Lines.

One line for every run and phase: ``{"params": {"p": 4}, "value": 0.0123, "callpath":
"train->strong->forward", "metric": "time"}``; several lines of the same parameters, path and metric
are repetitions (Calotoiu et al. 2013, SC13; doi:10.1145/2503210.2503277).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.errors import ConfigError, DataError
from hpcad.scaling.report.fits import SWEEPS
from hpcad.scaling.report.phases import breakdown
from hpcad.scaling.report.reading import Study
from hpcad.scaling.report.series import grouped


def lines(study: Study) -> Iterator[dict[str, Any]]:
    """The lines of all strong and weak series.

    The whole step (``train->strong``) is the run's median; phases below it are means, which sum to
    the mean step.
    """
    groups = {key: points for key, points in grouped(study.runs).items() if key.sweep in SWEEPS}
    sweeps = [key.sweep for key in groups]
    for key, points in groups.items():
        name = key.sweep if sweeps.count(key.sweep) == 1 else key.name
        for point in points:
            for run in study.runs[point]:
                yield _line(point.ranks, f"train->{name}", float(np.median(run.step_seconds)))
                for phase, seconds in breakdown(run.name, [run])["rows"].items():
                    yield _line(point.ranks, f"train->{name}->{phase}", seconds)


def _line(ranks: int, path: str, seconds: float) -> dict[str, Any]:
    return {"params": {"p": ranks}, "value": seconds, "callpath": path, "metric": "time"}


def write_extra_p(study: Study, path: Path) -> int:
    """Write the lines, and return how many there are.

    Raises
    ------
    ConfigError
        The study varies no ranks, which is the parameter of the export.
    DataError
        The file cannot be written.
    """
    found = [json.dumps(line, allow_nan=False) for line in lines(study)]
    if not found:
        raise ConfigError(
            f"{study.directory} has no strong or weak sweep, so there is nothing to model by the "
            "number of ranks; leave --extra-p out"
        )
    try:
        path.write_text("\n".join(found) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}; name another file") from error
    return len(found)
