"""The language of fused kernels: a loop nest, what it loads, computes and stores.

A kernel runs over ``extents``; the last axis is the *row*. A node is either one number per element
or, where nothing it depends on varies along the row, one number per row. A reduction along the
row (``row_sum``, ``row_max``, ``row_min``) makes one number per row out of one per element, which
later nodes may combine with elements again: softmax and layer normalisation are single kernels.

The names of elementwise nodes are those of the primitives. What each computes is in
:mod:`hpcad.program.kernels.scalars`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ROW_REDUCTIONS = ("row_sum", "row_max", "row_min")
SOURCES = ("load", "literal", "scalar", "index")


@dataclass(frozen=True)
class Operand:
    """An array argument.

    Attributes
    ----------
    dtype : str
        Also ``"bfloat16"`` and ``"float16"``, which nodes cannot be: their elements are loaded as
        float32 and rounded where they are stored. Sums into them are float32 until they are
        complete.
    strides : tuple of int
        In elements, one per axis of the loop nest; 0 along axes where it is broadcast (loads) or
        summed over (reducing stores).
    """

    dtype: str
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """One value.

    Attributes
    ----------
    op : str
        ``load`` (``detail``: number of the operand), ``literal`` (``detail``: the number),
        ``scalar`` (``detail``: number of the run-time scalar), ``index`` (``detail``: the axis
        whose loop index it is, int64), a reduction along the row, or an elementwise primitive.
    args : tuple of int
        Earlier nodes.
    dtype : str
        Of this value. ``cast`` converts to it; ``round_bfloat16`` and ``round_float16`` round,
        and their values are float32.
    """

    op: str
    args: tuple[int, ...]
    dtype: str
    detail: Any = None


@dataclass(frozen=True)
class Store:
    """A node that is written to an operand.

    Attributes
    ----------
    node, operand : int
    reduce : str or None
        None: every axis of the operand has its stride, or (along the row) the node is one number
        per row. ``"sum"``: the operand gets the sum over all axes of extent above 1 along which
        its stride is 0 (column sums, sums of everything). What it held before is overwritten.
    accumulate : bool
        Add to what the operand held before, instead.
    """

    node: int
    operand: int
    reduce: str | None = None
    accumulate: bool = False


@dataclass(frozen=True)
class Kernel:
    """A fused kernel; equal kernels are compiled once.

    An operand that is both loaded and stored is updated in place: every load sees the old value
    of its element. Distinct operands do not overlap, unless both are only loaded.

    Attributes
    ----------
    extents : tuple of int
        At least one; the last is the row.
    operands : tuple of Operand
    scalars : tuple of str
        dtypes of the run-time scalars.
    nodes : tuple of Node
    stores : tuple of Store
    """

    extents: tuple[int, ...]
    operands: tuple[Operand, ...]
    scalars: tuple[str, ...]
    nodes: tuple[Node, ...]
    stores: tuple[Store, ...]
