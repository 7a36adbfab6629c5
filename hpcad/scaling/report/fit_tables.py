"""The tables of fitted laws: their choice, their parameters, and the largest scale held out."""

from __future__ import annotations

from typing import Any

from hpcad.scaling.report.table import Table, interval, milliseconds, number, percent

Fits = dict[str, Any]


def series_fit_tables(series: dict[str, Any]) -> list[Table]:
    """Of a series; none where the sweep varies no ranks."""
    return [] if series["fits"] is None else _tables(series["name"], series["fits"])


def communication_tables(fits: Fits) -> list[Table]:
    """Of the allreduces of all series; none where nothing was reduced."""
    if not fits["times"]:
        return []
    found = _tables("allreduce", fits)
    found[0].notes.append(
        "reductions were measured inside training steps, beside the backward pass, with the "
        "waiting for late ranks; not alone on an idle network"
    )
    return found


def _tables(name: str, fits: Fits) -> list[Table]:
    choice = _choice(name, fits)
    if not fits["models"]:
        return [choice]
    return [choice, _parameters(name, fits), _held_out(name, fits)]


def _choice(name: str, fits: Fits) -> Table:
    columns = ["law", "formula", "weight", "AICc", "noise %"]
    rows = [
        [
            model["model"],
            model["formula"],
            number(model["weight"]),
            number(model["aicc"]),
            percent(model["noise"]),
        ]
        for model in fits["models"]
    ]
    notes = [f"{fits['times']} times at {fits['settings']} settings"]
    if fits["left_out"]:
        names = ", ".join(fits["left_out"])
        notes.append(f"left out, since their ranks share cores (oversubscribed): {names}")
    notes += [f"not fitted: {model}: {why}" for model, why in fits["refused"].items()]
    return Table(f"{name}: laws, the likeliest first", columns, rows, notes, left=2)


def _parameters(name: str, fits: Fits) -> Table:
    columns = ["law", "parameter", "value [95 %]", "unit"]
    table = Table(f"{name}: parameters of the laws", columns, left=2)
    for model in fits["models"]:
        for parameter, found in model["parameters"].items():
            table.rows.append([model["model"], parameter, interval(found), found["unit"]])
        if "peak" in model:
            peak = model["peak"]
            shown = interval(peak) if peak["value"] is not None else "beyond any number"
            table.rows.append([model["model"], "turning point", shown, "ranks"])
    return table


def _held_out(name: str, fits: Fits) -> Table:
    columns = ["law", "ranks", "measured ms", "predicted ms [95 %]", "error %", "inside"]
    table = Table(f"{name}: the largest scale, predicted from the smaller ones", columns)
    for model in fits["models"]:
        held = model["held_out"]
        if "refused" in held:
            table.notes.append(f"{model['model']}: {held['refused']}")
            continue
        for measured, predicted, error in zip(
            held["measured"], held["predicted"], held["errors"], strict=True
        ):
            low, high = predicted["low"], predicted["high"]
            inside = (low is None or low <= measured) and (high is None or measured <= high)
            table.rows.append(
                [
                    model["model"],
                    number(held["ranks"]),
                    milliseconds(measured),
                    interval(predicted, 1e3),
                    f"{100 * error:+.3g}",
                    "yes" if inside else "no",
                ]
            )
    return table
