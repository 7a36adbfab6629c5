"""The backend on NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hpcad.backend import flops
from hpcad.backend.gemm.eager import multiply
from hpcad.backend.half import is_half
from hpcad.backend.protocol import Shape

ALIGNMENT = 64  # one cache line, and the widest SIMD register in use
WORTHWHILE = 1 << 14  # elements; a smaller temporary costs less than the call around np.matmul


class NumpyBackend:
    """Arrays in host memory; GEMM by the BLAS that NumPy has loaded.

    Operands in half precision are multiplied in float32, and the product is rounded once; ``out``
    may be float32.
    """

    name = "numpy"
    device = "cpu"
    on_device = False
    xp = np
    chunk_bytes = 256 << 10  # several operands of it stay in the second-level cache
    block_bytes = 2 << 20  # about one second-level cache

    def asarray(self, value: Any, dtype: Any = None) -> np.ndarray:
        return np.asarray(value, dtype=dtype)

    def to_host(self, array: np.ndarray) -> np.ndarray:
        return array

    def empty(self, shape: Shape, dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def zeros(self, shape: Shape, dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def allocate(self, nbytes: int) -> np.ndarray:
        raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + nbytes]

    def gemm(
        self,
        a: np.ndarray,
        b: np.ndarray,
        out: np.ndarray | None = None,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
        bias: np.ndarray | None = None,
    ) -> np.ndarray:
        if 2 in (a.itemsize, b.itemsize) and (is_half(a.dtype) or is_half(b.dtype)):
            return self._gemm_of_halves(a, b, out, alpha, beta, bias)
        if flops.counting():
            _count(a, b)
        if alpha == 1.0 and (beta == 0.0 or out is None):
            out = np.matmul(a, b, out=out)
        else:
            out = _with_factors(a, b, out, alpha, beta)
        if bias is not None:
            out += bias
        return out

    def _gemm_of_halves(
        self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None, alpha: float, beta: float,
        bias: np.ndarray | None,
    ) -> np.ndarray:  # fmt: skip
        """The product in float32, rounded once, or not at all into an ``out`` of float32."""
        kind = np.result_type(a.dtype, b.dtype) if out is None else out.dtype
        rounded = is_half(kind)
        a, b, bias = map(_widened, (a, b, bias))
        if not rounded:
            return self.gemm(a, b, out, alpha=alpha, beta=beta, bias=bias)
        before = None if out is None or beta == 0.0 else _widened(out)
        product = self.gemm(a, b, before, alpha=alpha, beta=beta, bias=bias)
        if out is None:
            return product.astype(kind)
        out[...] = product
        return out

    def column_sums(self, g: np.ndarray, out: np.ndarray, beta: float) -> None:
        # Five to eight times as fast as np.sum over the long axis.
        self.gemm(np.ones((1, g.shape[0]), g.dtype), g, out[None, :], beta=beta)

    def scatter_add_rows(self, out: np.ndarray, index: np.ndarray, rows: np.ndarray) -> None:
        if index.size == 0:
            return
        index = np.where(index < 0, index + len(out), index)  # -1 and n - 1 are one row
        # A stable sort and one segmented sum: several times faster than np.add.at on rows,
        # and the order of the additions is that of the batch.
        order = np.argsort(index, kind="stable")
        ordered = index[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        touched = ordered[starts]
        if is_half(out.dtype):
            sums = np.add.reduceat(_widened(rows[order]), starts, axis=0)
            out[touched] = _widened(out[touched]) + sums
        else:
            out[touched] += np.add.reduceat(rows[order], starts, axis=0)

    def windows(self, x: np.ndarray, kernel: Sequence[int], stride: Sequence[int]) -> np.ndarray:
        (n, h, w, c), (kh, kw), (sh, sw) = x.shape, kernel, stride
        s_n, s_h, s_w, s_c = x.strides
        shape = (n, (h - kh) // sh + 1, (w - kw) // sw + 1, kh, kw, c)
        strides = (s_n, s_h * sh, s_w * sw, s_h, s_w, s_c)
        return as_strided(x, shape, strides, writeable=False)

    def synchronize(self) -> None:
        """NumPy has finished when it returns."""

    def memory_in_use(self) -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096


def _with_factors(
    a: np.ndarray, b: np.ndarray, out: np.ndarray | None, alpha: float, beta: float
) -> np.ndarray:
    """``alpha * a @ b + beta * out``: what np.matmul cannot do at once, but BLAS can."""
    fresh = out is None
    if out is None:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out, beta = np.empty((*batch, a.shape[-2], b.shape[-1]), np.result_type(a, b)), 0.0
    if out.size >= WORTHWHILE and multiply(a, b, out, alpha, beta):
        return out
    product = np.matmul(a, b, out=out if fresh else None)
    if alpha != 1.0:
        product *= alpha
    if fresh:
        return product
    if beta == 0.0:
        out[...] = product
    else:
        out *= beta
        out += product
    return out


def _widened(x: Any) -> Any:
    """Half precision as float32, other arrays as they are."""
    return x if x is None or not is_half(x.dtype) else x.astype(np.float32)


def _count(a: np.ndarray, b: np.ndarray) -> None:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    flops.count_gemm(a.shape[-2], b.shape[-1], a.shape[-1], math.prod(batch))
