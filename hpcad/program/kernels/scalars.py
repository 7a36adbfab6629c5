"""Elementwise primitives as scalar expressions: types as NumPy has them, text for C and CUDA C++.

Everything but transcendental functions equals NumPy bitwise. The table itself is in
:mod:`hpcad.program.kernels.table`.

Numbers in half precision, bfloat16 and float16, exist in memory only: where they are loaded they
become float32, all nodes that NumPy would compute in half precision are float32, and a store rounds
to nearest, ties to even (a number too large becomes infinity, NaN stays NaN). NumPy rounds every
single operation; a kernel rounds what it stores, and where a node ``round_bfloat16`` or
``round_float16`` says so: such nodes are what conversions to half precision become.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.program.kernels.table import DEAR, TABLE

DTYPES = ("bool", "int32", "int64", "float32", "float64")  # of nodes
HALVES = ("bfloat16", "float16")  # of operands only
OPERANDS = (*DTYPES, *HALVES)
C_TYPES = {
    "bool": "bool",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
    "float64": "double",
}
STORED = {**C_TYPES, "bool": "uint8_t", "bfloat16": "uint16_t", "float16": "uint16_t"}  # in arrays
ITEMSIZE = {"bool": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}
ITEMSIZE |= dict.fromkeys(HALVES, 2)
ROUNDINGS = {f"round_{half}": half for half in HALVES}  # nodes -> what they round to

_KINDS = {"bool": "b", "int32": "i", "int64": "i", "float32": "f", "float64": "f"}
ENDINGS = {"bool": "_b", "int32": "_i32", "int64": "_i64", "float32": "_f32", "float64": "_f64"}
_CONSTANTS = ("literal", "scalar", "index", "load")


@functools.cache
def signature(op: str, dtypes: tuple[str, ...]) -> tuple[tuple[str, ...], str] | None:
    """The types that NumPy converts the arguments to, and that of the answer.

    Parameters
    ----------
    op : str
        An elementwise primitive.
    dtypes : tuple of str
        Of its arguments.

    Returns
    -------
    tuple or None
        None where no expression of the table computes it.
    """
    entry = TABLE.get(op)
    if entry is None or len(dtypes) != entry.arity or not set(dtypes) <= set(DTYPES):
        return None
    if entry.typing == "conversion":
        return dtypes, dtypes[0]
    if entry.typing == "rounding":
        exact = dtypes[0] if dtypes[0] == "float64" and op == "round_float16" else "float32"
        return (exact,), "float32"
    if entry.typing == "logic":
        return ("bool",) * len(dtypes), "bool"
    if entry.typing == "selection":
        common = _common(dtypes[1:])
        return ("bool", common, common), common
    common = _common(dtypes)
    if entry.typing == "floating" and _KINDS[common] == "i":
        common = "float64"  # of bools NumPy makes float16, which is refused
    if entry.typing in ("quotient", "any floating") and _KINDS[common] != "f":
        common = "float64"
    if _KINDS[common] not in entry.templates:
        return None
    return (common,) * len(dtypes), "bool" if entry.typing == "test" else common


def _common(dtypes: Sequence[str]) -> str:
    return str(np.result_type(*map(np.dtype, dtypes)))


def fusable(op: str, dtypes: Sequence[str], exponent: Any = None) -> bool:
    """Whether a kernel can hold the primitive with arguments of these types.

    Parameters
    ----------
    op : str
    dtypes : sequence of str
    exponent : int, optional
        The second argument of ``power``, if it is known: a power of integers must not be negative,
        for which NumPy raises an error.
    """
    types = signature(op, tuple(dtypes))
    if types is None:
        return False
    if op == "power" and _KINDS[types[1]] == "i":
        return isinstance(exponent, int) and exponent >= 0
    return True


def result_dtype(op: str, dtypes: Sequence[str]) -> str | None:
    """The type of the answer (of ``cast``: not known from the arguments); None: not fusable."""
    types = signature(op, tuple(dtypes))
    return None if types is None or op.startswith("cast") else types[1]


def cost(op: str) -> int:
    """Rough cost of one element, in additions."""
    if op in _CONSTANTS:
        return 1
    return TABLE[op].cost if op in TABLE else DEAR


def expression(op: str, args: Sequence[str], dtypes: Sequence[str], dtype: str) -> str:
    """The expression of a primitive.

    Parameters
    ----------
    op : str
    args : sequence of str
        Names of the arguments.
    dtypes : sequence of str
        Their types.
    dtype : str
        Of the answer.

    Raises
    ------
    ValueError
        The primitive is not in the table, or not for these types.
    """
    types = signature(op, tuple(dtypes))
    if types is None:
        raise ValueError(f"no kernel computes {op} of {', '.join(dtypes)}; ask fusable() first")
    given = [convert(*item) for item in zip(args, dtypes, types[0], strict=True)]
    if TABLE[op].typing == "conversion":
        return convert(args[0], dtypes[0], dtype)
    computed = types[0][-1]
    text = (
        TABLE[op]
        .templates[_KINDS[computed]]
        .format(
            *given,
            t=C_TYPES[computed],
            u="u" + C_TYPES[computed],
            m="f" if computed == "float32" else "",
            p=ENDINGS[computed],
        )
    )
    return text if types[1] == dtype else convert(f"({text})", types[1], dtype)


def convert(text: str, source: str, target: str) -> str:
    """``text`` (a name or in parentheses) of type ``source``, as ``target``.

    A choice instead of a cast of booleans: gcc casts vectors of bytes, at half the speed.
    """
    if source == target:
        return text
    if source == "bool":
        return f"({text} ? ({C_TYPES[target]})1 : ({C_TYPES[target]})0)"
    return f"({text} != 0)" if target == "bool" else f"({C_TYPES[target]}){text}"


def computed_in(dtype: str) -> str:
    """The type of the nodes that stand for numbers of an array."""
    return "float32" if dtype in HALVES else dtype


def from_memory(text: str, dtype: str) -> str:
    """An element of an array of type ``dtype`` as it is computed with."""
    if dtype in HALVES:
        return f"hp_from_{dtype}({text})"
    return f"{text} != 0" if dtype == "bool" else text


def to_memory(text: str, source: str, dtype: str) -> str:
    """``text`` (a name or in parentheses) of type ``source`` as an element of an array."""
    if dtype not in HALVES:
        return convert(text, source, dtype)
    if dtype == "float16" and source == "float64":
        return f"hpk_to_float16_f64({text})"
    return f"hp_to_{dtype}({convert(text, source, 'float32')})"


def literal(value: Any, dtype: str) -> str:
    """A number as a constant of exactly that value; floating point in hexadecimal."""
    if dtype == "bool":
        return "true" if value else "false"
    if dtype in ("int32", "int64"):
        number = int(value)
        if number == -(2**63):  # C has no negative constants, only negated ones
            return "(-9223372036854775807LL - 1)"
        return f"(({C_TYPES[dtype]}){number}LL)"
    with np.errstate(over="ignore"):
        real = float(np.dtype(dtype).type(value))
    if math.isnan(real):
        return f"(({C_TYPES[dtype]})NAN)"
    if math.isinf(real):
        return f"(({C_TYPES[dtype]}){'-' if real < 0 else ''}INFINITY)"
    text = real.hex() + ("f" if dtype == "float32" else "")
    return f"({text})" if text.startswith("-") else text
