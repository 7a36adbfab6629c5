"""The steps of a compiled program in groups: products by shape, kernels, routines, effects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

KINDS = {
    "product": "products (cuBLASLt)",
    "kernel": "fused kernels",
    "routine": "routines in CUDA C++",
    "effect": "optimizer, other effects",
    "other": "the array library",
}
LONGEST = 60  # characters of a label
_KERNEL = re.compile(r"kernel_(\d+)_")


def rows_of(steps: Sequence[Any], seconds: Iterable[float]) -> list[dict[str, Any]]:
    """Return the groups of equal steps, the longest first.

    Parameters
    ----------
    steps : sequence of Step
        Of a program (:mod:`hpcad.program.emission.steps`).
    seconds : iterable of float
        Of each.

    Returns
    -------
    list of dict
        ``kind``, ``label``, ``count``, ``seconds``, ``flops`` and ``bytes``, of all of a group.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for step, time in zip(steps, seconds, strict=True):
        kind, label = KINDS.get(step.kind, step.kind), label_of(step)
        number = _KERNEL.match(step.text)
        row = rows.setdefault(
            (kind, number[1] if number else label),
            {"kind": kind, "label": label, "count": 0, "seconds": 0.0, "flops": 0, "bytes": 0},
        )
        row["count"] += 1
        row["seconds"] += float(time)
        row["flops"] += step.flops
        row["bytes"] += step.nbytes
    return sorted(rows.values(), key=lambda row: -row["seconds"])


def label_of(step: Any) -> str:
    """What equal steps have in common: shapes of products, a kernel's formula, a name."""
    if step.kind == "product":
        return _short(step.comment.rpartition(";")[2].strip())
    if _KERNEL.match(step.text):
        return _short(_formula(step.comment))
    if step.kind == "effect":
        return _short(step.comment or step.name)
    return step.name


def _formula(comment: str) -> str:
    """Extents and formula of a kernel, without the name of what it computes."""
    extents, _, formula = comment.partition(": ")
    return f"{extents} {formula.partition(' = ')[2] or formula}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
