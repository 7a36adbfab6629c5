"""From arrays that lie row by row to a product of column-major matrices, without copies.

A row-major matrix is, column by column, its transpose. So the library is asked for
``c^T = b^T a^T``: its A is our ``b``, its B our ``a``, and its D has the rows that ``c`` has as
columns, which is the side on which it wants bias and aux.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hpcad.backend.cublaslt.enums import EPILOGUES, MASK_BITS, type_name
from hpcad.backend.cublaslt.problem import Problem
from hpcad.backend.gemm.views import layout

CALLS = 64  # products of one bound product at most: where batch axes do not form one stride
LARGEST = 2**31 - 1  # "usually only values that can be expressed as int32_t are supported"
ALIGNMENT = 16  # bytes; what every kernel of the library is content with

# Type of the operands -> types of the result, and precision of the sums.
TYPES = {
    "float64": (("float64",), "float64"),
    "float32": (("float32",), "float32"),
    "float16": (("float16", "float32"), "float32"),
    "bfloat16": (("bfloat16", "float32"), "float32"),
}

# 8-bit operands -> types of the result. Two of e5m2, which is for gradients, do not exist.
_EIGHTS = {
    ("float8_e4m3fn", "float8_e4m3fn"),
    ("float8_e4m3fn", "float8_e5m2"),
    ("float8_e5m2", "float8_e4m3fn"),
}
_FROM_EIGHTS = ("bfloat16", "float16", "float32")

# Ours, for row-major results -> the library's. Sums of our b are those of its A.
NAMES = {"bgrad_a": "BGRADB", "bgrad_b": "BGRADA"}
TURNED = {"bgrad_a": "bgrad_b", "bgrad_b": "bgrad_a"}  # of a product that is transposed


class Meta(NamedTuple):
    """An array without its address."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    itemsize: int

    @property
    def turned(self) -> Meta:
        """The transposed matrices."""
        (*batch, rows, columns), (*steps, down, along) = self.shape, self.strides
        return self._replace(shape=(*batch, columns, rows), strides=(*steps, along, down))


def meta(array: Any) -> Meta:
    """What is known of a device array."""
    return Meta(array.shape, array.strides, type_name(array.dtype), array.itemsize)


class Offsets(NamedTuple):
    """Bytes from the addresses of the arrays to those of one product."""

    a: int = 0
    b: int = 0
    d: int = 0
    aux: int = 0


@dataclass(frozen=True)
class Arrangement:
    """How arrays are given to the library.

    Attributes
    ----------
    problem : Problem
    swapped : bool
        The library's A is our ``b``.
    offsets : tuple of Offsets
        One per call; ``a`` and ``b`` are the library's.
    """

    problem: Problem
    swapped: bool
    offsets: tuple[Offsets, ...]

    def aligned(self, pointers: tuple[int, ...]) -> Problem:
        """The problem with the alignment of these addresses of A, B, D, bias and aux."""
        steps = [[0], *map(set, zip(*self.offsets, strict=True))]
        a, b, d, aux = (math.gcd(ALIGNMENT, *step) for step in steps[1:])
        known = zip(pointers, (a, b, d, ALIGNMENT, aux), strict=True)
        return replace(self.problem, alignment=tuple(math.gcd(*pair) for pair in known))


def arrange(
    a: Meta,
    b: Meta,
    c: Meta,
    *,
    adds: bool = False,
    epilogue: str = "",
    bias: Meta | None = None,
    aux: Meta | None = None,
    tf32: bool = False,
) -> Arrangement | None:
    """Describe ``c = epilogue(alpha * a @ b + beta * c)``.

    Returns
    -------
    Arrangement or None
        ``None`` where the library cannot be given the arrays as they are.
    """
    if EPILOGUES[NAMES.get(epilogue, epilogue)].mask:
        return _masked(a, b, c, adds, epilogue, bias, aux, tf32)
    if not _typed(a, b, c, bias, aux) or min(*c.shape, a.shape[-1]) < 1:
        return None
    lying = layout(c.shape, c.strides, c.itemsize)
    if lying is None:
        return None
    if lying[0]:  # a result that lies column by column is what the library wants
        if EPILOGUES.get(epilogue, EPILOGUES[""]).bias:
            return None  # the bias would lie along the other side
        a, b, c, aux = b.turned, a.turned, c.turned, None if aux is None else aux.turned
        found = _of_rows(a, b, c, adds, TURNED.get(epilogue, epilogue), aux, tf32)
        return None if found is None else replace(found, swapped=False)
    return _of_rows(a, b, c, adds, epilogue, aux, tf32)


def _masked(
    a: Meta, b: Meta, c: Meta, adds: bool, epilogue: str, bias: Meta | None, aux: Any, tf32: bool
) -> Arrangement | None:
    """The product of two matrices with a mask of bits beside a ``c`` that lies row by row."""
    if not _typed(a, b, c, bias) or len(c.shape) != 2 or min(*c.shape, a.shape[-1]) < 1:
        return None
    found, bits = _of_rows(a, b, c, adds, epilogue, None, tf32), 8 * aux.strides[0]
    if found is None or aux.dtype != "uint8" or aux.strides[1] != 1 or bits % MASK_BITS:
        return None
    return replace(found, problem=replace(found.problem, aux_ld=bits))


def _typed(a: Meta, b: Meta, c: Meta, *beside: Meta | None) -> bool:
    """Whether the types go together, and vectors have no gaps."""
    others = [x for x in beside if x is not None]
    packed = all(x.strides[0] == x.itemsize or x.shape[0] == 1 for x in others if len(x.shape) == 1)
    if not packed or any(x.dtype != c.dtype for x in others):
        return False
    if (a.dtype, b.dtype) in _EIGHTS:
        return c.dtype in _FROM_EIGHTS and not (others and c.dtype == "float32")
    results, _ = TYPES.get(a.dtype, ((), ""))
    return a.dtype == b.dtype and c.dtype in results


def _of_rows(
    a: Meta, b: Meta, c: Meta, adds: bool, epilogue: str, aux: Meta | None, tf32: bool
) -> Arrangement | None:
    """The product with a ``c`` that lies row by row; A of the problem is ``b``."""
    operands = [x for x in (a, b, c, aux) if x is not None]
    lying = [layout(x.shape, x.strides, x.itemsize) for x in operands]
    batch = c.shape[:-2]
    steps = [_batch_steps(x, batch) for x in operands]
    if None in lying or None in steps or any(trans for trans, _ in lying[2:]):  # type: ignore[misc]
        return None
    if any(0 in step for step in steps[2:]):  # type: ignore[operator]
        return None  # results would lie on each other
    compute = "tf32" if tf32 and a.dtype == "float32" else TYPES.get(a.dtype, ((), "float32"))[1]
    (trans_a, lda), (trans_b, ldb), (_, ldc) = lying[:3]  # type: ignore[misc]
    problem = Problem(
        b.dtype, a.dtype, c.dtype, compute,
        rows=c.shape[-1], columns=c.shape[-2], depth=a.shape[-1],
        trans_a=trans_b, trans_b=trans_a, lda=ldb, ldb=lda, ldd=ldc,
        adds=adds, epilogue=NAMES.get(epilogue, epilogue),
        aux_ld=lying[3][1] if aux is not None else 0,  # type: ignore[index]
    )  # fmt: skip
    axes = _merged(batch, steps)  # type: ignore[arg-type]
    return _arranged(problem, axes, [x.itemsize for x in operands])


Axis = tuple[int, tuple[int, ...]]  # extent, elements from one matrix to the next of each operand


def _batch_steps(x: Meta, batch: tuple[int, ...]) -> tuple[int, ...] | None:
    """Elements from one matrix to the next along each axis of the batch longer than 1."""
    missing = len(batch) - (len(x.shape) - 2)
    have = (*(1,) * missing, *x.shape[:-2])
    strides = (*(0,) * missing, *x.strides[:-2])
    steps = []
    for extent, wanted, stride in zip(have, batch, strides, strict=True):
        if wanted == 1:
            continue
        if extent == 1:
            stride = 0
        if stride % x.itemsize or stride < 0:
            return None
        steps.append(stride // x.itemsize)
    return tuple(steps)


def _merged(batch: tuple[int, ...], steps: list[tuple[int, ...]]) -> list[Axis]:
    """The batch axes, outer ones first; those that have one stride together are one."""
    axes: list[Axis] = []
    extents = [extent for extent in batch if extent > 1]
    for extent, step in zip(extents, zip(*steps, strict=True), strict=True):
        if axes and all(s == extent * t for s, t in zip(axes[-1][1], step, strict=True)):
            axes[-1] = (axes[-1][0] * extent, step)
        else:
            axes.append((extent, step))
    return axes


def _arranged(problem: Problem, axes: list[Axis], itemsizes: list[int]) -> Arrangement | None:
    """The longest axis becomes the library's batch, the others one call per index."""
    problem, axes = _folded(problem, axes)
    if axes and problem.end.bias == "write":
        return None  # a gradient is the sum over all of them
    if axes:
        count, step = max(axes, key=lambda axis: axis[0])
        axes.remove((count, step))
        problem = replace(
            problem, batch=count, stride_a=step[1], stride_b=step[0], stride_d=step[2],
            aux_stride=step[3] if problem.end.aux else 0,
        )  # fmt: skip
    offsets = tuple(_offsets(axes, itemsizes))
    return Arrangement(problem, True, offsets) if _possible(problem, len(offsets)) else None


def _folded(problem: Problem, axes: list[Axis]) -> tuple[Problem, list[Axis]]:
    """The last batch axis made rows of one matrix, as in ``x @ w`` with ``x`` of three axes."""
    p = problem
    if not axes or p.trans_b or axes[-1][1][1] != 0 or p.epilogue in ("BGRADA", "BGRADB"):
        return problem, axes
    count, step = axes[-1]
    if p.columns == 1:  # one row follows the other, however far away
        p = replace(p, ldb=step[0], ldd=step[2], aux_ld=step[3] if p.end.aux else 0)
        if p.ldb < p.depth or p.ldd < p.rows or (p.end.aux and p.aux_ld < p.rows):
            return problem, axes
    follows = (p.columns * p.ldb, p.columns * p.ldd, p.columns * p.aux_ld)
    if (step[0], *step[2:]) != follows[: len(step) - 1]:
        return problem, axes
    return replace(p, columns=p.columns * count), axes[:-1]


def _offsets(axes: list[Axis], itemsizes: list[int]) -> Iterable[Offsets]:
    for index in itertools.product(*(range(extent) for extent, _ in axes)):
        moved = [0, 0, 0, 0]
        for i, (_, step) in zip(index, axes, strict=True):
            for k, (stride, itemsize) in enumerate(zip(step, itemsizes, strict=True)):
                moved[k] += i * stride * itemsize
        yield Offsets(moved[1], moved[0], moved[2], moved[3])


def _possible(problem: Problem, calls: int) -> bool:
    p = problem
    sizes = (p.rows, p.columns, p.depth, p.lda, p.ldb, p.ldd, p.batch)
    if calls > CALLS or max(sizes) > LARGEST:
        return False
    return not p.end.aux or (p.aux_ld % 8 == 0 and p.aux_stride % 8 == 0)
