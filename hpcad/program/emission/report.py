"""What a program costs: instructions, operations, memory, and time, predicted and measured."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcad.backend.gemm import seconds as product_seconds
from hpcad.program.emission.steps import Step

BYTES_PER_SECOND = 2.0e10  # of main memory on one core, where nothing was measured
FLOPS_PER_SECOND = 5.0e10


@dataclass
class Row:
    """The steps of one line of the user, or of one kind.

    Attributes
    ----------
    name : str
    steps : int
    flops : int
        Floating-point operations.
    nbytes : int
        Bytes read and written by the steps, each operand counted once.
    predicted : float
        Seconds: of products as measured when their shape was first seen, of the rest the time
        that its bytes take from memory.
    measured : float or None
        Seconds, the mean of the timed runs.
    """

    name: str
    steps: int = 0
    flops: int = 0
    nbytes: int = 0
    predicted: float = 0.0
    measured: float | None = None

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.nbytes if self.nbytes else 0.0


@dataclass
class Report:
    """A table that prints itself.

    Attributes
    ----------
    name : str
    rows : list of Row
        By line of the user.
    kinds : list of Row
        By kind of step.
    arena_bytes, bound_bytes : int
        Memory of the plan, and the least that any plan needs.
    """

    name: str
    rows: list[Row]
    kinds: list[Row]
    arena_bytes: int
    bound_bytes: int

    def __str__(self) -> str:
        over = self.arena_bytes / self.bound_bytes if self.bound_bytes else 1.0
        lines = [
            f"program {self.name}: {sum(r.steps for r in self.rows)} steps",
            f"memory {self.arena_bytes / 1e6:.2f} MB, {over:.3f} of the bound "
            f"{self.bound_bytes / 1e6:.2f} MB",
            "",
            _HEAD,
            *map(_line, self.kinds),
            "",
            *map(_line, self.rows),
        ]
        return "\n".join(lines)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


_HEAD = (
    f"{'':<44}{'steps':>6}{'MFLOP':>10}{'MB':>9}{'FLOP/B':>8}{'predicted ms':>14}"
    f"{'measured ms':>13}"
)


def _line(row: Row) -> str:
    measured = "" if row.measured is None else f"{1e3 * row.measured:.3f}"
    return (
        f"{row.name[-43:]:<44}{row.steps:>6}{row.flops / 1e6:>10.2f}{row.nbytes / 1e6:>9.2f}"
        f"{row.intensity:>8.2f}{1e3 * row.predicted:>14.3f}{measured:>13}"
    )


def report(
    name: str, steps: list[Step], arena: int, bound: int, measured: Iterable[float] | None
) -> Report:
    """Sum up steps by line of the user and by kind."""
    times = [None] * len(steps) if measured is None else [float(t) for t in measured]
    by_line = _summed(steps, times, lambda step: step.line or step.name)
    by_kind = _summed(steps, times, lambda step: _KINDS.get(step.kind, step.kind))
    return Report(name, by_line, by_kind, arena, bound)


_KINDS = {
    "product": "products (BLAS)",
    "kernel": "fused kernels",
    "routine": "routines in C",
    "effect": "effects",
}


def _summed(steps: list[Step], times: list[Any], key: Any) -> list[Row]:
    rows: dict[str, Row] = {}
    for step, time in zip(steps, times, strict=True):
        row = rows.setdefault(key(step), Row(key(step)))
        row.steps += 1
        row.flops += step.flops
        row.nbytes += step.nbytes
        row.predicted += predicted(step)
        if time is not None:
            row.measured = (row.measured or 0.0) + time
    return list(rows.values())


def predicted(step: Step) -> float:
    """Seconds that a step should take."""
    if step.gemm is not None:
        known = product_seconds(step.gemm)
        if known is not None:
            return known
    work = step.flops / FLOPS_PER_SECOND if step.kind == "product" else 0.0
    return max(work, step.nbytes / BYTES_PER_SECOND)
