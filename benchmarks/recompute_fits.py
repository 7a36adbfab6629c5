"""Check the fits of a scaling report against the times they were fitted to, with NumPy only.

The laws are written down once more here, in plain logarithms of times; searches are short
Gauss-Newton iterations with finite differences, that begin at the reported parameters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np


def _overlap(p: Any, size: Any, sent: Any, work: float, alpha: float, rate: float,
             hidden: float) -> Any:  # fmt: skip
    compute = work * size / p
    return compute + np.maximum(0, 2 * (p - 1) * (alpha + sent / (p * rate)) - hidden * compute)


LAWS: dict[str, Callable[..., Any]] = {
    "amdahl": lambda p, size, sent, t1, s: t1 * size * (s + (1 - s) / p),
    "gustafson": lambda p, size, sent, t1, s: t1 * size / (s + (1 - s) * p),
    "usl": lambda p, size, sent, t1, sigma, kappa: (
        t1 * size * (1 + sigma * (p - 1) + kappa * p * (p - 1)) / p
    ),
    "ring": lambda p, size, sent, alpha, rate: 2 * (p - 1) * (alpha + sent / (p * rate)),
    "tree": lambda p, size, sent, alpha, rate: 2 * np.ceil(np.log2(p)) * (alpha + sent / rate),
    "overlap": _overlap,
}
SHARES = ("serial", "sigma", "kappa", "hidden")  # between 0 and 1; all others are scales


def check_fits(check: Any, place: str, fits: dict[str, Any], columns: list[Any]) -> None:
    """Check the fits to ``(ranks, seconds, size, bytes)`` columns."""
    check(f"{place}: times of fits", fits["times"], len(columns))
    check(f"{place}: settings", fits["settings"], len({(c[0], c[2], c[3]) for c in columns}))
    if not fits["models"]:
        return
    table = np.array(columns, float)
    aiccs = []
    for model in fits["models"]:
        told = f"{place}: {model['model']}"
        aiccs.append(_check_model(check, told, model, table))
        _check_held_out(check, told, model, table)
    shares = np.exp((min(aiccs) - np.array(aiccs)) / 2)
    for model, share in zip(fits["models"], shares / shares.sum(), strict=True):
        check(f"{place}: weight of {model['model']}", model["weight"], float(share), 1e-6)


def _check_model(check: Any, place: str, model: dict[str, Any], table: np.ndarray) -> float:
    names = list(model["parameters"])
    law = LAWS[model["model"]]
    values = [model["parameters"][name]["value"] for name in names]
    squares = _squares(law, table, values)
    n, count = len(table), len(names)
    check(f"{place}: sum of squares", model["squares"], squares, 1e-6)
    check(f"{place}: noise", model["noise"], max(math.sqrt(squares / (n - count)), 1e-10), 1e-6)
    k = count + 1
    aicc = n * math.log(max(squares / n, 1e-20)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    check(f"{place}: AICc", model["aicc"], aicc, 1e-6)
    _, best = _search(law, table, names, values)
    check.holds(f"{place}: other parameters fit better", squares <= best * (1 + 1e-4) + 1e-12)
    allowed = student(0.95, n - count) ** 2 * squares / (n - count)
    for at, name in enumerate(names):
        found = model["parameters"][name]
        check(f"{place}: level of {name}", found["level"], 0.95)
        for end in ("low", "high"):
            bound = found[end]
            is_limit = bound in (0.0, 1.0) and name in SHARES
            if bound is None or is_limit or squares < 1e-12:
                continue
            start = [*values[:at], bound, *values[at + 1 :]]
            _, height = _search(law, table, names, start, held=at)
            excess = (height - squares) / allowed
            # The law with a kink is hard to search: its ends are found less exactly.
            rel = 0.02 if model["model"] == "overlap" else 0.01
            check(f"{place}: excess at the {end} end of {name}", excess, 1.0, rel)
    if "peak" in model:
        check(f"{place}: level of the turning point", model["peak"]["level"], 0.95)
        sigma, kappa = (model["parameters"][name] for name in ("sigma", "kappa"))
        pairs = {"value": "value", "low": "high", "high": "low"}
        for end, of in pairs.items():
            peak = math.sqrt((1 - sigma[of]) / kappa[of]) if kappa[of] else None
            check(f"{place}: turning point, {end}", model["peak"][end], peak, 1e-6)
    return aicc


def _check_held_out(check: Any, place: str, model: dict[str, Any], table: np.ndarray) -> None:
    held = model["held_out"]
    if "refused" in held:
        return
    largest = table[:, 0].max()
    rest, last = table[table[:, 0] < largest], table[table[:, 0] == largest]
    check(f"{place}: held-out ranks", held["ranks"], int(largest))
    names, law = list(model["parameters"]), LAWS[model["model"]]
    start = [model["parameters"][name]["value"] for name in names]
    values, squares = _search(law, rest, names, start)
    settings = np.unique(last[:, [0, 2, 3]], axis=0)
    inside: list[bool] = []
    for k, (ranks, size, sent) in enumerate(settings):
        chosen = (last[:, [0, 2, 3]] == (ranks, size, sent)).all(axis=1)
        measured = float(np.exp(np.log(last[chosen, 1]).mean()))
        predicted = float(law(ranks, size, sent, *values))
        reported = held["predicted"][k]
        check(f"{place}: held out, measured", held["measured"][k], measured, 1e-9)
        check(f"{place}: held out, predicted", reported["value"], predicted, 2e-3)
        low, high = reported["low"] or 0.0, reported["high"] or math.inf
        inside.append(low <= measured <= high)
        check(f"{place}: held out, level", reported["level"], 0.95)
        check(f"{place}: held out, error", held["errors"][k], reported["value"] / measured - 1)
        allowed = student(0.95, len(rest) - len(names)) ** 2 * squares / (len(rest) - len(names))
        for end in ("low", "high"):
            if reported[end] is None or squares < 1e-12:
                continue
            # The new mean is one more point, as heavy as the runs it is a mean of.
            added = np.array([ranks, reported[end], size, sent])
            _, height = _search(law, rest, names, list(values), extra=(added, chosen.sum()))
            excess = (height - squares) / allowed
            rel = 0.05 if model["model"] == "overlap" else 0.03
            check(f"{place}: held out, excess at the {end} end", excess, 1.0, rel)
    check(f"{place}: held out, inside", held["is_inside"], all(inside))


# -- searches --------------------------------------------------------------------------------------


def _squares(law: Callable[..., Any], table: np.ndarray, values: Any) -> float:
    return float((_residuals(law, table, values) ** 2).sum())


def _residuals(law: Callable[..., Any], table: np.ndarray, values: Any) -> np.ndarray:
    p, seconds, size, sent = table.T
    with np.errstate(all="ignore"):
        return np.log(law(p, size, sent, *values)) - np.log(seconds)


def _search(
    law: Callable[..., Any],
    table: np.ndarray,
    names: list[str],
    start: Any,
    held: int | None = None,
    extra: tuple[np.ndarray, float] | None = None,
) -> tuple[np.ndarray, float]:
    """Damped Gauss-Newton from `start`; shares stay within 0 and 1, scales are logarithms."""
    is_share = np.array([name in SHARES for name in names])
    given_free = np.array([k != held for k in range(len(names))])

    def values(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.where(is_share, np.clip(x, 0, 1), np.exp(np.where(is_share, 0, x)))

    def residuals(x: np.ndarray) -> np.ndarray:
        found = _residuals(law, table, values(x))
        if extra is not None:
            one = _residuals(law, extra[0][None], values(x)) * math.sqrt(extra[1])
            found = np.concatenate([found, one])
        return found

    given = np.asarray(start, float)
    x = np.where(is_share, given, np.log(np.where(is_share, 1, np.maximum(given, 1e-300))))
    best, damping = float((residuals(x) ** 2).sum()), 1e-3
    for _ in range(300):
        slopes = _slopes(residuals, x, is_share)
        # A share at its end that wants to go on stays, so that the others go where that is best.
        up = slopes.T @ residuals(x) > 0
        free = np.flatnonzero(given_free & ~(is_share & ((up & (x <= 0)) | (~up & (x >= 1)))))
        if not len(free) or damping > 1e12:
            break
        slopes = slopes[:, free]
        lengths = np.maximum(np.sqrt((slopes**2).sum(axis=0)), 1e-300)
        matrix = (slopes / lengths).T @ (slopes / lengths) + damping * np.eye(len(free))
        moved = x.copy()
        moved[free] -= np.linalg.solve(matrix, (slopes / lengths).T @ residuals(x)) / lengths
        moved = np.where(is_share, np.clip(moved, 0, 1), moved)
        height = float((residuals(moved) ** 2).sum())
        if height < best:
            x, best, damping = moved, height, max(damping / 10, 1e-9)
        else:
            damping *= 10
    return values(x), best


def _slopes(
    residuals: Callable[[np.ndarray], np.ndarray], x: np.ndarray, is_share: np.ndarray
) -> np.ndarray:
    """Finite differences by columns: central ones, and one-sided ones where a share ends."""
    columns = []
    for k, share in enumerate(is_share):
        before, after = x.copy(), x.copy()
        before[k], after[k] = x[k] - 1e-6, x[k] + 1e-6
        if share:
            before[k], after[k] = max(before[k], 0.0), min(after[k], 1.0)
        columns.append((residuals(after) - residuals(before)) / (after[k] - before[k]))
    return np.stack(columns, axis=1)


@functools.lru_cache
def student(level: float, freedom: int) -> float:
    """Quantile of Student's t: its density is summed on a fine grid, and inverted."""
    t = np.linspace(0, 400, 4_000_001)
    density = (1 + t**2 / freedom) ** (-(freedom + 1) / 2)
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    density *= 2 * constant / math.sqrt(freedom * math.pi)
    sums = np.cumsum((density[1:] + density[:-1]) / 2) * (t[1] - t[0])
    return float(np.interp(level, sums, t[1:]))
