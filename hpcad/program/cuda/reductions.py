"""Reductions along the row: what they begin with, and how two values become one."""

from __future__ import annotations

from hpcad.program.kernels.scalars import literal

# As a primitive, within a thread; as an object of the prelude, between threads.
COMBINING = {"row_sum": "add", "row_max": "maximum", "row_min": "minimum"}
EXCHANGING = {"row_sum": "hp_add", "row_max": "hp_maximum", "row_min": "hp_minimum"}
_INTEGERS = {"int32": 2**31, "int64": 2**63}


def neutral(op: str, dtype: str) -> str:
    """What a reduction begins with."""
    if op == "row_sum":
        return literal(0, dtype)
    lowest = op == "row_max"
    if dtype == "bool":
        return literal(not lowest, dtype)
    if dtype in _INTEGERS:
        return literal(-_INTEGERS[dtype] if lowest else _INTEGERS[dtype] - 1, dtype)
    return literal(float("-inf") if lowest else float("inf"), dtype)
