"""What the doctor says: a fault of the launch, where it is, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hpcad.launch.doctor.facts import Facts

ERROR: Literal["error"] = "error"
WARNING: Literal["warning"] = "warning"


@dataclass(frozen=True)
class Finding:
    """A fault.

    Attributes
    ----------
    kind : str
        Its short name, for programs: ``"shared GPU"``.
    severity : {"error", "warning"}
        With an error the job would be wrong, much slower than it could be, or not run at all.
    what : str
        What is wrong, with the numbers that show it.
    ranks : tuple of int
    hosts : tuple of str
        Where.
    change : str
        What to change.
    """

    kind: str
    severity: Literal["error", "warning"]
    what: str
    ranks: tuple[int, ...]
    hosts: tuple[str, ...]
    change: str


Rule = Callable[[Sequence[Facts]], Iterable[Finding]]


def found(
    kind: str, severity: Literal["error", "warning"], what: str, where: Iterable[Facts], change: str
) -> Finding:
    """A finding about these ranks."""
    ranks = list(where)
    hosts = tuple(dict.fromkeys(each.host for each in ranks))
    return Finding(kind, severity, what, tuple(each.rank for each in ranks), hosts, change)


def numbers(values: Iterable[int]) -> str:
    """Numbers in the way of Linux: ``"0-3,8"``; ``"none"`` for none."""
    runs: list[list[int]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) or "none"
