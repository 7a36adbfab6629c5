"""The tape as a graph: a table, DOT, or a drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from hpcad.autodiff.seeing.nodes import KINDS, Node, captions, count, nodes_of, shortened, size
from hpcad.autodiff.seeing.recording import record
from hpcad.errors import ConfigError


class Graph:
    """What a function did, operation by operation.

    Attributes
    ----------
    nodes : list of Node
        Each after those that it was computed from.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)

    @property
    def operations(self) -> list[Node]:
        return [node for node in self.nodes if node.kind == "operation"]

    @property
    def bytes(self) -> int:
        """Of all nodes together: what a tape that keeps everything holds."""
        return sum(node.bytes for node in self.nodes)

    @property
    def flops(self) -> int:
        return sum(node.flops for node in self.nodes)

    def totals(self) -> str:
        """One line: how many operations, bytes and floating-point operations."""
        return (
            f"{len(self.operations)} operations, {size(self.bytes)}, "
            f"{count(self.flops)} floating-point operations"
        )

    def text(self) -> str:
        """A table with a row per node; a star marks results of the function."""
        rows = [("", "", "dtype and shape", "bytes", "FLOPs", "line", "source")]
        for node in self.nodes:
            mark = " -> " + ", ".join(node.results) if node.results else ""
            where = (node.line.short, shortened(node.line.text, 60))
            where = where if node.kind == "operation" else ("", "")
            flops = count(node.flops) if node.kind == "operation" else ""
            name = f"v{node.number}"
            rows.append((name, node.call + mark, node.types, size(node.bytes), flops, *where))
        return "\n".join([*aligned(rows, right=(3, 4)), "", self.totals(), _ESTIMATE])

    def dot(self) -> str:
        """The graph in the DOT language, for Graphviz."""
        return "\n".join(["digraph {", "  node [fontname=Helvetica];", *self._dot_lines(), "}"])

    def _dot_lines(self) -> Iterator[str]:
        shapes = dict(zip(KINDS, ("ellipse", "hexagon", "plaintext", "box"), strict=True))
        for node in self.nodes:
            label = "\n".join(part for part in captions(node) if part)
            style = ", peripheries=2" if node.results else ""
            yield f"  v{node.number} [shape={shapes[node.kind]}, label={_quoted(label)}{style}];"
            for i in node.inputs:
                yield f"  v{i} -> v{node.number};"

    def svg(self) -> str:
        """A drawing; needs nothing else installed."""
        from hpcad.autodiff.seeing.svg import draw  # most programs never draw

        return draw(self)

    def save(self, path: str | Path) -> None:
        """Write a ``.svg``, ``.dot`` or ``.txt`` file."""
        form = {".svg": self.svg, ".dot": self.dot, ".txt": self.text}.get(Path(path).suffix)
        if form is None:
            raise ConfigError(f"cannot save a graph as {str(path)!r}; use .svg, .dot or .txt")
        Path(path).write_text(form() + "\n", encoding="utf-8")

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Graph: {self.totals()}>"

    def _repr_svg_(self) -> str:
        return self.svg()


_ESTIMATE = (
    "(FLOPs of matrix products as counted where they are computed; elsewhere one per element of "
    "the largest array, none where numbers are only moved)"
)


def graph(function: Callable[..., Any]) -> Callable[..., Graph]:
    """Return a function that runs ``function`` and returns the graph of what it did.

    Arguments that hold floating-point or complex numbers (also in dicts, lists, tuples and
    dataclasses) are inputs; the parameters that are used appear as such.

    Examples
    --------
    ``print(graph(loss)(x))`` prints a table; ``graph(loss)(x).save("loss.svg")`` draws it.
    """

    @wraps(function)
    def seen(*args: Any, **kwargs: Any) -> Graph:
        return Graph(nodes_of(record(function, args, kwargs)))

    return seen


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows of cells as lines with straight columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
