"""What a matrix product is, without the addresses: shapes, layouts, factors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hpcad.backend import flops
from hpcad.errors import ShapeError

DTYPES = ("float32", "float64", "complex64", "complex128")
Strides = tuple[int, ...]


@dataclass(frozen=True)
class Gemm:
    """``c = alpha * op(a) @ op(b) + beta * c``, for one pair of matrices or a batch of pairs.

    ``op`` is the transposition where the flag says so. Matrices lie in memory row by row.

    Attributes
    ----------
    dtype : str
        ``float32``, ``float64``, ``complex64`` or ``complex128``.
    m, n, k : int
        ``op(a)`` is (m, k), ``op(b)`` (k, n), ``c`` (m, n).
    trans_a, trans_b : bool
        The memory holds (k, m), or (n, k).
    lda, ldb, ldc : int
        Elements from one row in memory to the next; 0 stands for the length of a row.
    batch : tuple of int
        Extents of the batch axes; empty for one product.
    stride_a, stride_b, stride_c : tuple of int
        Elements from one matrix to the next along each batch axis; 0 repeats the operand. Empty
        stands for 0 along all axes. Matrices of ``c`` must not overlap.
    alpha, beta : complex
        Where ``beta`` is 0, ``c`` is not read.

    Raises
    ------
    ShapeError
        A size, stride or dtype that no BLAS takes.
    """

    dtype: str
    m: int
    n: int
    k: int
    trans_a: bool = False
    trans_b: bool = False
    lda: int = 0
    ldb: int = 0
    ldc: int = 0
    batch: tuple[int, ...] = ()
    stride_a: Strides = ()
    stride_b: Strides = ()
    stride_c: Strides = ()
    alpha: complex = 1.0
    beta: complex = 0.0

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "dtype", np.dtype(self.dtype).name)
        if self.dtype not in DTYPES:
            raise ShapeError(f"no BLAS multiplies {self.dtype}; it takes {', '.join(DTYPES)}")
        for name, row in (("lda", self.row_a), ("ldb", self.row_b), ("ldc", self.n)):
            stride = getattr(self, name) or max(1, row)
            if stride < max(1, row):
                raise ShapeError(f"{name} = {stride} is shorter than a row of {row} elements")
            put(self, name, int(stride))
        for name in ("stride_a", "stride_b", "stride_c"):
            strides = getattr(self, name) or (0,) * len(self.batch)
            if len(strides) != len(self.batch):
                raise ShapeError(f"{name} = {strides} does not fit the batch {self.batch}")
            put(self, name, tuple(map(int, strides)))

    @property
    def row_a(self) -> int:
        """Elements in a row of ``a`` as it lies in memory."""
        return self.m if self.trans_a else self.k

    @property
    def row_b(self) -> int:
        """Elements in a row of ``b`` as it lies in memory."""
        return self.k if self.trans_b else self.n

    @property
    def items(self) -> int:
        """How many pairs of matrices."""
        return math.prod(self.batch)

    @property
    def flops(self) -> int:
        """Multiplications and additions: ``2 m n k`` for each pair."""
        return 2 * self.m * self.n * self.k * self.items

    @property
    def key(self) -> str:
        """The product as one line, by which choices are kept."""
        sides = [f"{self.m}x{self.n}x{self.k}", f"{'NT'[self.trans_a]}{'NT'[self.trans_b]}"]
        strides = [f"{self.lda},{self.ldb},{self.ldc}"]
        if self.batch:
            strides += map(str, (self.batch, self.stride_a, self.stride_b, self.stride_c))
        return " ".join([self.dtype, *sides, *strides, *(["adds"] if self.beta != 0 else [])])

    def count(self) -> None:
        """Tell those who count floating-point operations (:mod:`hpcad.backend.flops`)."""
        flops.count_gemm(self.m, self.n, self.k, self.items)

    def flipped(self, operand: Literal["a", "b"]) -> Gemm:
        """The same product with the operand stored in the other layout, without gaps in its rows.

        For operands that are not repeated along some batch axis only if there is no batch.
        """
        strides = getattr(self, f"stride_{operand}")
        if any(strides):
            raise ShapeError(f"operand {operand} is a batch of matrices: {strides}")
        if operand == "a":
            return replace(self, trans_a=not self.trans_a, lda=0)
        return replace(self, trans_b=not self.trans_b, ldb=0)

    def folded(self) -> Gemm:
        """The same product with as many batch axes as possible made rows of one matrix.

        Those along which ``b`` is repeated while the matrices of ``a`` and ``c`` follow each other,
        as in ``x @ w`` with ``x`` of three axes.
        """
        spec = self
        while spec.batch and not spec.trans_a and spec.stride_b[-1] == 0:
            steps = (spec.stride_a[-1], spec.stride_c[-1])
            if steps != (spec.m * spec.lda, spec.m * spec.ldc):
                break
            spec = replace(
                spec,
                m=spec.m * spec.batch[-1],
                batch=spec.batch[:-1],
                stride_a=spec.stride_a[:-1],
                stride_b=spec.stride_b[:-1],
                stride_c=spec.stride_c[:-1],
            )
        return spec
