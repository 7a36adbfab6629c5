"""Accumulators of reductions along the row.

Where the row is long enough each is an array of 16 or 32 lanes (``lanes.h``), so that the order of
a sum is the same on all machines. What is left over of the row goes to a single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcad.program.kernels.ir import Node, Store
from hpcad.program.kernels.scalars import C_TYPES, ENDINGS
from hpcad.program.kernels.writer import Writer

_CLAUSES = {"sum": "+", "max": "max", "min": "min", "any": "|", "all": "&"}
_LEAST = {
    "float32": ("-INFINITY", "INFINITY"),
    "float64": ("-INFINITY", "INFINITY"),
    "int32": ("INT32_MIN", "INT32_MAX"),
    "int64": ("INT64_MIN", "INT64_MAX"),
}


def total_type(dtype: str) -> str:
    """The C type of a sum of many partial sums: double for all floating point."""
    return "double" if dtype == "float32" else C_TYPES[dtype]


@dataclass(frozen=True)
class Accumulator:
    """What is accumulated along the row.

    Attributes
    ----------
    name, kind, dtype, start : str
        ``kind`` is sum, max, min, any or all.
    value : str
        What is accumulated.
    total, total_type : str
        The variable that the result is added to; it is declared here if it has a type.
    """

    name: str
    kind: str
    dtype: str
    start: str
    value: str
    total: str
    total_type: str = ""

    @property
    def type(self) -> str:
        """The C type."""
        return C_TYPES[self.dtype]

    def update(self, place: str, value: str) -> str:
        """Statement that accumulates ``value`` in ``place``."""
        if self.kind == "sum":
            return f"{place} += {value};"
        if self.kind in ("max", "min"):
            which = "larger" if self.kind == "max" else "smaller"
            return f"{place} = hp_{which}{ENDINGS[self.dtype]}({value}, {place});"
        return f"{place} {_CLAUSES[self.kind]}= {value};"

    def of_lanes(self, lanes: int) -> str:
        """The lanes made one number."""
        return f"hp_lanes_{self.kind}{ENDINGS[self.dtype]}({self.name}s, {lanes})"

    def clause(self) -> str:
        """For the pragma of a loop without lanes."""
        known = _CLAUSES[self.kind]
        if known in ("max", "min") and self.dtype[0] == "f":
            known = f"hp_{'larger' if known == 'max' else 'smaller'}{ENDINGS[self.dtype]}"
        return f" reduction({known} : {self.name})"


def of_node(i: int, node: Node, value: str) -> Accumulator:
    """The accumulator of a reduction along the row."""
    kind, dtype = node.op.removeprefix("row_"), node.dtype
    if kind == "sum":
        return Accumulator(f"z{i}", "sum", dtype, "0", value, f"y{i}", total_type(dtype))
    if dtype == "bool":
        which, start = ("any", "0") if kind == "max" else ("all", "1")
        return Accumulator(f"m{i}", which, "int32", start, value, f"y{i}", "int32_t")
    start = _LEAST[dtype][kind == "min"]
    return Accumulator(f"m{i}", kind, dtype, start, value, f"y{i}", C_TYPES[dtype])


def of_store(store: Store, dtype: str, value: str) -> Accumulator:
    """The accumulator of a sum over everything along the row."""
    return Accumulator(f"zt{store.operand}", "sum", dtype, "0", value, f"t{store.operand}")


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
