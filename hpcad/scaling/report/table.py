"""A table of texts, and how numbers become texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NONE = "-"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


@dataclass
class Table:
    """What is shown alike on a terminal and on a page.

    Attributes
    ----------
    title : str
    columns : list of str
    rows : list of list of str
        The first cell of a row names it.
    left : int
        So many columns begin on the left; numbers end on the right.
    notes : list of str
        Sentences under the table.
    """

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: int = 1

    def text(self) -> str:
        """For a terminal."""
        lines = [self.title, "-" * len(self.title)]
        if self.rows:
            every = [self.columns, *self.rows]
            widths = [max(len(row[k]) for row in every) for k in range(len(self.columns))]
            for row in every:
                cells = [
                    cell.ljust(width) if k < self.left else cell.rjust(width)
                    for k, (cell, width) in enumerate(zip(row, widths, strict=True))
                ]
                lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *self.notes])


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits; "-" for None.

    >>> number(12345.6), number(0.012345), number(1.5e9), number(128), number(None)
    ('12346', '0.01235', '1.5e+09', '128', '-')
    """
    if value is None:
        return NONE
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if 10**digits <= abs(value) < 1e7 else f"{value:.{digits}g}"


def milliseconds(value: float | None) -> str:
    """Seconds as milliseconds, without the unit.

    >>> milliseconds(0.0123456)
    '12.35'
    """
    return number(None if value is None else 1e3 * value)


def percent(value: float | None) -> str:
    """A share as a percentage, without the unit.

    >>> percent(0.98765)
    '98.77'
    """
    return number(None if value is None else 100 * value)


def scaled(value: float | None, unit: str) -> str:
    """With a decimal prefix.

    >>> scaled(1.5e9, "B/s"), scaled(0.5, "B/s"), scaled(None, "B/s")
    ('1.5 GB/s', '0.5 B/s', '-')
    """
    if value is None:
        return NONE
    step = min(max(int(math.log10(abs(value)) // 3), 0), len(_PREFIXES) - 1) if value else 0
    return f"{number(value / 1000**step)} {_PREFIXES[step]}{unit}"


def interval(found: Mapping[str, Any] | None, factor: float = 1.0) -> str:
    """A value with the ends of its interval; an end that nothing bounds is "..".

    >>> interval({"value": 0.5, "low": 0.25, "high": None}, 1e3)
    '500 [250, ..]'
    """
    if found is None or found["value"] is None:
        return NONE
    low, high = (
        ".." if found[end] is None else number(factor * found[end]) for end in ("low", "high")
    )
    if low == high == "..":
        return f"{number(factor * found['value'])} [no interval]"
    return f"{number(factor * found['value'])} [{low}, {high}]"
