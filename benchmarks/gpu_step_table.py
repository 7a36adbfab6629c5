"""What gpu_step.py prints: rates, marks, and where the time of hpcad's step goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gpu_marks import lines_of, marks, mfu, peak_of, why_no_marks
from gpu_step_contenders import HPCAD
from gpu_step_measure import TOLERANCE, best_compiled_torch, tokens_per_second
from medians import median_interval

SHOWN = 30  # groups of steps
UNKNOWN = "-"


def step_lines(result: dict[str, Any], card: str) -> list[str]:
    """Return the table of one batch size."""
    case, peak = result["case"], peak_of(card, result["case"]["precision"])
    how = "they take turns" if result["interleaved"] else (
        "NOT IN TURN: together they do not fit on the card, so each was measured alone"
    )  # fmt: skip
    head = f"{'':<34}{'ms a step: median (95 %)':>28}{'tokens/s':>12}{'MFU':>8}"
    lines = [agreement(result), f"# {how}", head]
    for name, times in result["milliseconds"].items():
        middle, low, high = median_interval(times)
        rate = tokens_per_second(result, name)
        share = UNKNOWN if peak is None else f"{mfu(rate, result['flops_per_token'], peak):.1%}"
        spread = f"{middle:.2f} ({low:.2f} .. {high:.2f})"
        lines.append(f"{name:<34}{spread:>28}{rate:>12,.0f}{share:>8}")
    if peak is None:
        lines.append(f"# no peak is known for {card!r}, so no MFU")
    for found in result["comparisons"]:
        low, high = found["interval"]
        ratio = f"{found['ratio']:.3f} ({low:.3f} .. {high:.3f})"
        lines.append(f"{HPCAD} / {found['against']}, time: {ratio}: {found['verdict']}")
    return [*lines, *_mark_lines(result, case)]


def agreement(result: dict[str, Any]) -> str:
    """Say how far the losses of the first steps are apart."""
    allowed = TOLERANCE[result["case"]["precision"]]
    steps = len(next(iter(result["losses"].values())))
    return (
        f"# losses of the first {steps} steps agree to {result['largest_loss_difference']:.1e} "
        f"(allowed: {allowed:.0e})"
    )


def _mark_lines(result: dict[str, Any], case: dict[str, Any]) -> list[str]:
    reason = why_no_marks(case["name"], case["precision"], case["batch"])
    if reason is not None:
        return [f"# {reason}"]
    return lines_of(marks(tokens_per_second(result, HPCAD), best_compiled_torch(result)))


# -- where the time goes --------------------------------------------------------------------------


def profile_lines(result: dict[str, Any]) -> list[str]:
    """Return the table of hpcad's step by kind, and by product, kernel and routine."""
    rows, roofs = result["profile"]["rows"], result["roofs"]
    copied = _median(roofs["copy_bytes_per_second"])
    multiplied = _median(roofs["gemm_flops_per_second"])
    whole = sum(row["seconds"] for row in rows)
    step = float(np.median(result["milliseconds"][HPCAD]))
    lines = [
        f"# device time of each step of the program, by events, mean of "
        f"{result['profile']['runs']} runs: {1e3 * whole:.2f} ms together; as graphs the whole "
        f"takes {step:.2f} ms",
        f"# roofs of this run: copy {_giga(copied)} GB/s read and written, bfloat16 product of "
        f"side 8192 {_tera(multiplied)} TFLOP/s",
        _row_head("kind"),
    ]
    kinds = by_kind(rows)
    lines += [_row_line(row, whole, copied, multiplied) for row in kinds]
    lines.append(_row_head("product, kernel or routine"))
    lines += [_row_line(row, whole, copied, multiplied) for row in rows[:SHOWN]]
    left = sum(row["seconds"] for row in rows[SHOWN:])
    if len(rows) > SHOWN:
        lines.append(f"and {len(rows) - SHOWN} more, {1e3 * left:.2f} ms")
    return lines


def by_kind(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sums over each kind, the longest first."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        kind = found.setdefault(row["kind"], {"kind": row["kind"], "label": row["kind"], "count": 0,
                                              "seconds": 0.0, "flops": 0, "bytes": 0})  # fmt: skip
        for name in ("count", "seconds", "flops", "bytes"):
            kind[name] += row[name]
    return sorted(found.values(), key=lambda kind: -kind["seconds"])


def _row_head(first: str) -> str:
    return f"{first:<62}{'steps':>6}{'ms':>9}{'share':>7}{'TFLOP/s':>9}{'GB/s':>7}{'of roof':>9}"


def _row_line(
    row: dict[str, Any], whole: float, copied: float | None, multiplied: float | None
) -> str:
    """Rates, and the share of the roof that is nearer: arithmetic or memory."""
    seconds = row["seconds"]
    counted = "attention" in row["label"] or row["kind"].startswith("products")
    work = row["flops"] / seconds if seconds and counted else None
    memory = row["bytes"] / seconds if seconds and row["bytes"] else None
    shares = [rate / roof for rate, roof in ((work, multiplied), (memory, copied)) if rate and roof]
    roof = max(shares, default=None)
    return (
        f"{row['label']:<62}{row['count']:>6}{1e3 * seconds:>9.3f}"
        f"{seconds / whole if whole else 0:>7.1%}{_tera(work):>9}{_giga(memory):>7}"
        f"{UNKNOWN if roof is None else f'{roof:.0%}':>9}"
    )


def count_lines(counts: dict[str, Any]) -> list[str]:
    """Return what a step waits for and allocates."""
    waits = "waits for the device" if counts["waits"] else "does not wait for the device"
    line = f"a step {waits}, and allocates {counts['allocations']} times (the loss it returns)"
    if "synchronisations" not in counts:
        return [f"{line}; the host gives its work in {1e3 * counts['host_seconds']:.2f} ms"]
    named = ("synchronisations", "graph_launches", "launches", "host_to_device", "device_to_host")
    counted = ", ".join(f"{name.replace('_', ' ')} {counts[name]}" for name in named)
    return [line, f"counted in one step: {counted}"]


def memory_lines(memory: dict[str, dict[str, int]]) -> list[str]:
    """Return what each holds in the memory of the device."""
    return [
        f"{name}: " + ", ".join(f"{k.replace('_', ' ')} {v / 2**20:,.1f} MiB" for k, v in m.items())
        for name, m in memory.items()
        if m
    ]


def _median(samples: Sequence[float]) -> float | None:
    return float(np.median(samples)) if len(samples) else None


def _giga(rate: float | None) -> str:
    return UNKNOWN if rate is None else f"{1e-9 * rate:,.0f}"


def _tera(rate: float | None) -> str:
    return UNKNOWN if rate is None else f"{1e-12 * rate:,.1f}"
