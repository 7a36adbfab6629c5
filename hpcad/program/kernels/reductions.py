"""Accumulators of reductions along the row.

Where the row is long enough each is an array of 16 or 32 lanes (``lanes.h``), so that the order of
a sum is the same on all machines. What is left over of the row goes to a single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcad.program.kernels.ir import Node, Store
from hpcad.program.kernels.scalars import C_TYPES
from hpcad.program.kernels.writer import Writer

_CLAUSES = {"sum": "+", "max": "max", "min": "min", "any": "|", "all": "&"}
_SUFFIXES = {"float": "f32", "double": "f64", "int32_t": "i32", "int64_t": "i64"}
_LEAST = {
    "float": ("-INFINITY", "INFINITY"),
    "double": ("-INFINITY", "INFINITY"),
    "int32_t": ("INT32_MIN", "INT32_MAX"),
    "int64_t": ("INT64_MIN", "INT64_MAX"),
}


def total_type(dtype: str) -> str:
    """The C type of a sum of many partial sums: double for all floating point."""
    return "double" if dtype == "float32" else C_TYPES[dtype]


@dataclass(frozen=True)
class Accumulator:
    """What is accumulated along the row.

    Attributes
    ----------
    name, kind, type, start : str
        ``kind`` is sum, max, min, any or all.
    value : str
        What is accumulated.
    total, total_type : str
        The variable that the result is added to; it is declared here if it has a type.
    """

    name: str
    kind: str
    type: str
    start: str
    value: str
    total: str
    total_type: str = ""

    def update(self, place: str, value: str) -> str:
        """Statement that accumulates ``value`` in ``place``."""
        if self.kind == "sum":
            return f"{place} += {value};"
        if self.kind in ("max", "min"):
            sign = ">" if self.kind == "max" else "<"
            return f"{place} = {value} {sign} {place} ? {value} : {place};"
        return f"{place} {_CLAUSES[self.kind]}= {value};"

    def clause(self) -> str:
        """For the pragma of a loop without lanes."""
        return f" reduction({_CLAUSES[self.kind]} : {self.name})"

    def of_lanes(self, lanes: int) -> str:
        """The lanes made one number."""
        return f"hp_lanes_{self.kind}_{_SUFFIXES[self.type]}({self.name}s, {lanes})"


def of_node(i: int, node: Node, value: str) -> list[Accumulator]:
    """The accumulators of a reduction: also one that sees NaN, which comparisons overlook."""
    kind, result = node.op.removeprefix("row_"), C_TYPES[node.dtype]
    if kind == "sum":
        total = total_type(node.dtype)
        return [Accumulator(f"z{i}", "sum", result, "0", value, f"y{i}", total)]
    if node.dtype == "bool":
        which, start = ("any", "0") if kind == "max" else ("all", "1")
        return [Accumulator(f"m{i}", which, "int32_t", start, value, f"y{i}", "int32_t")]
    start = _LEAST[result][kind == "min"]
    found = [Accumulator(f"m{i}", kind, result, start, value, f"y{i}", result)]
    if result in ("float", "double"):
        seen = f"{value} != {value}"
        found.append(Accumulator(f"n{i}", "any", "int32_t", "0", seen, f"f{i}", "int32_t"))
    return found


def of_store(store: Store, dtype: str, value: str) -> Accumulator:
    """The accumulator of a sum over everything along the row."""
    return Accumulator(f"zt{store.operand}", "sum", C_TYPES[dtype], "0", value, f"t{store.operand}")


def declare_totals(writer: Writer, accumulators: Sequence[Accumulator]) -> None:
    """Declare the results."""
    for each in accumulators:
        if each.total_type:
            writer.add(f"{each.total_type} {each.total} = {each.start};")


def declare_lanes(writer: Writer, accumulators: Sequence[Accumulator], lanes: int) -> None:
    """Declare and clear the lanes."""
    for each in accumulators:
        writer.add(f"{each.type} {each.name}s[{lanes}];")
    with writer.block(f"for (int l = 0; l < {lanes}; l++)"):
        for each in accumulators:
            writer.add(f"{each.name}s[l] = {each.start};")
