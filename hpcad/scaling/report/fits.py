"""Laws fitted to the series of a study, and to its allreduces.

A time of a fit is the median step of one repetition. Points whose ranks share cores say nothing of
ranks with cores of their own, so they are left out, unless they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.laws.fit import Fit, fit
from hpcad.scaling.laws.interval import Interval
from hpcad.scaling.laws.messages import OVERLAP, RING, TREE
from hpcad.scaling.laws.models import AMDAHL, GUSTAFSON, USL, Model, Parameter, usl_peak
from hpcad.scaling.laws.points import Points
from hpcad.scaling.laws.selection import hold_out, select
from hpcad.scaling.report.row import bounds, repetition_medians
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples

Runs = Mapping[Point, list[Samples]]
SWEEPS = ("strong", "weak")
_SPEEDUPS = (AMDAHL, GUSTAFSON, USL)


def series_fits(points: Sequence[Point], runs: Runs, oversubscribed: bool) -> dict[str, Any] | None:
    """Laws of the step time of a series; None where ranks do not vary, and for controls.

    Parameters
    ----------
    points : sequence of Point
        Of one series.
    runs : dict of Point to list of Samples
    oversubscribed : bool
        Whether such points are fitted, too.
    """
    if points[0].sweep not in SWEEPS or points[0].control != "none":
        return None
    kept, left_out = _fitted(points, runs, oversubscribed)
    if not kept:
        return _fits(_SPEEDUPS, [], left_out)
    # One rank may bring nothing to reductions that it does not make; the law wants to know.
    sent = max(float(run.facts["gradient_bytes"]) for point in kept for run in runs[point])
    columns = [
        (point.ranks, time, point.batch, sent)
        for point in kept
        for run, time in zip(runs[point], repetition_medians(runs[point]), strict=True)
    ]
    return _fits([*_SPEEDUPS, *([OVERLAP] if sent > 0 else [])], columns, left_out)


def communication_fits(runs: Runs, oversubscribed: bool) -> dict[str, Any]:
    """Laws of the allreduce's time, of all points that reduce gradients.

    A time is the median over the steps of a repetition of the mean over ranks. Reductions were
    measured inside training steps, beside the backward pass, and not alone on an idle network.
    """
    reduced = [p for p in runs if p.ranks > 1 and p.control == "none"]
    kept, left_out = _fitted(reduced, runs, oversubscribed)
    columns = []
    for point in kept:
        for run in runs[point]:
            time = float(np.median(run.communication[:, run.timed].mean(axis=0)))
            sent = float(run.facts["gradient_bytes"])
            if time > 0 and sent > 0:
                columns.append((point.ranks, time, 1.0, sent))
    return _fits([RING, TREE], columns, left_out)


def _fitted(
    points: Sequence[Point], runs: Runs, oversubscribed: bool
) -> tuple[list[Point], list[str]]:
    """The points to fit, and the names of the others."""
    if oversubscribed:
        return list(points), []
    crowded = [p for p in points if any(run.facts["oversubscribed"] for run in runs[p])]
    return [p for p in points if p not in crowded], [p.name for p in crowded]


def _fits(
    models: Sequence[Model], columns: Sequence[tuple[float, ...]], left_out: list[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {"left_out": left_out, "times": len(columns), "settings": 0}
    found |= {"models": [], "refused": {}}
    if not columns:
        return found | {"refused": {model.name: "there are no times to fit" for model in models}}
    ranks, seconds, size, sent = (np.array(column, float) for column in zip(*columns, strict=True))
    points = Points(ranks, seconds, size, sent if (sent > 0).all() else None)
    found["settings"] = points.settings
    refused = _reasons(models, points)
    if len(refused) < len(models):
        selection = select([model for model in models if model.name not in refused], points)
        found["models"] = [
            {**_fit(one), "weight": weight, "held_out": _held_out(one.model, points)}
            for one, weight in zip(selection.fits, selection.weights, strict=True)
        ]
    return found | {"refused": refused}


def _reasons(models: Sequence[Model], points: Points) -> dict[str, str]:
    """Why models cannot be fitted, by name."""
    refused = {}
    for model in models:
        try:
            fit(model, points)
        except DataError as error:
            refused[model.name] = str(error)
    return refused


def _fit(one: Fit) -> dict[str, Any]:
    parameters = {
        parameter.name: {**_parameter(one, parameter), "unit": _unit(parameter)}
        for parameter in one.model.parameters
    }
    found = {
        "model": one.model.name,
        "formula": one.model.formula,
        "parameters": parameters,
        "squares": one.squares,
        "noise": one.noise,
        "aicc": one.aicc,
    }
    return found | ({"peak": _peak(one)} if one.model is USL else {})


def _parameter(one: Fit, parameter: Parameter) -> dict[str, float | None]:
    """Its interval; a scale whose interval begins at 0 is not bounded from below."""
    interval = one.parameters[parameter.name]
    found = bounds(interval)
    return found | ({"low": None} if parameter.is_scale and interval.low == 0.0 else {})


def _unit(parameter: Parameter) -> str:
    return f"{parameter.unit} per sample" if parameter.per == "size" else parameter.unit


def _peak(one: Fit) -> dict[str, float | None]:
    """Ranks of the greatest throughput, between what the ends of both intervals give."""
    sigma, kappa = one.parameters["sigma"], one.parameters["kappa"]
    value = usl_peak(sigma.value, kappa.value)
    low, high = usl_peak(sigma.high, kappa.high), usl_peak(sigma.low, kappa.low)
    return bounds(Interval(value, low, high, min(sigma.level, kappa.level)))


def _held_out(model: Model, points: Points) -> dict[str, Any]:
    """The largest scale as the smaller ones predict it, or why they do not."""
    try:
        found = hold_out(model, points)
    except DataError as error:
        return {"refused": str(error)}
    return {
        "ranks": found.ranks,
        "measured": found.measured,
        "predicted": [bounds(interval) for interval in found.predicted],
        "errors": found.errors,
        "is_inside": found.is_inside,
    }
