"""The three columns of :func:`~hpcad.expand`, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcad.autodiff.seeing.notation import width

HEAD = ("forward evaluation trace", "tangent trace", "adjoint trace (read upwards)")


@dataclass(frozen=True)
class Row:
    """One operation (or input, or result) in the three columns; a cell may have several lines."""

    forward: str
    tangent: str
    adjoint: tuple[str, ...]


@dataclass(frozen=True)
class Expansion:
    """The three traces.

    Attributes
    ----------
    inputs, operations, results : list of Row
    """

    inputs: list[Row]
    operations: list[Row]
    results: list[Row]

    def text(self) -> str:
        """The table as text."""
        parts = [
            [line for row in rows for line in _lines(row)]
            for rows in (self.inputs, self.operations, self.results)
        ]
        cells = [HEAD, *(line for part in parts for line in part)]
        widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
        rule = "-+-".join("-" * w for w in widths)
        lines = [_joined(HEAD, widths)]
        for part in parts:
            lines += [rule, *(_joined(line, widths) for line in part)]
        return "\n".join(lines)

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---|"]
        for row in [*self.inputs, *self.operations, *self.results]:
            cells = (row.forward, row.tangent, "<br>".join(row.adjoint))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__
    _repr_markdown_ = markdown


def _lines(row: Row) -> list[tuple[str, str, str]]:
    """The row as lines; the first two columns stand beside the lowest line of the third."""
    above = [("", "", line) for line in row.adjoint[:-1]]
    return [*above, (row.forward, row.tangent, row.adjoint[-1] if row.adjoint else "")]


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [c + " " * (w - width(c)) for c, w in zip(cells, widths, strict=True)]
    return " | ".join(padded).rstrip()
