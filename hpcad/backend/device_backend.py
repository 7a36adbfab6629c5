"""The backend on device arrays: CuPy's, or those of the strict device.

Written against CuPy 14 and not yet run on a GPU; the strict device (:mod:`hpcad.backend.strict`)
runs it everywhere.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.backend import flops
from hpcad.backend.cublaslt import multiply
from hpcad.backend.protocol import Array, Shape
from hpcad.errors import DeviceError


def import_cupy() -> Any:
    """CuPy, where it is installed and finds a device.

    Raises
    ------
    DeviceError
        Elsewhere.
    """
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "a GPU was asked for, but CuPy is not installed; "
            "install it with `pip install 'hpcad[cuda13]'` (or cuda12), or use device = 'cpu'"
        ) from error
    if not cupy.cuda.is_available():
        raise DeviceError(
            "a GPU was asked for, but CuPy finds no CUDA device here; "
            "check `nvidia-smi` and the job's --gpus request, or use device = 'cpu'"
        )
    return cupy


class DeviceBackend:
    """Arrays in device memory; GEMM by cuBLASLt (:mod:`hpcad.backend.cublaslt`).

    Parameters
    ----------
    xp : module
        CuPy, or :mod:`hpcad.backend.strict`, which passes for it.
    name : {"cupy", "strict"}

    Attributes
    ----------
    capturing : Lock
        Held while a CUDA graph is captured, and by whoever uses the null stream in another thread:
        that is forbidden meanwhile.
    """

    on_device = True
    chunk_bytes = 1 << 40  # one kernel over everything
    block_bytes = 256 << 20  # few fat kernels; bounds the temporary

    def __init__(self, xp: Any, name: str) -> None:
        self.xp, self.name = xp, name
        self.device = "gpu" if name == "cupy" else name
        self._rows: dict[Any, Array] = {}
        self._stream: Any = None
        self.capturing = threading.Lock()

    @property
    def stream(self) -> Any:
        """The stream of compiled programs, which the null stream cannot be.

        It waits for the null stream, where eager operations run, and that waits for it.
        """
        if self._stream is None:
            self._stream = self.xp.cuda.Stream()
        return self._stream

    def asarray(self, value: Any, dtype: Any = None) -> Array:
        return self.xp.asarray(value, dtype=dtype)

    def to_host(self, array: Array) -> np.ndarray:
        return self.xp.asnumpy(array)

    def empty(self, shape: Shape, dtype: Any) -> Array:
        return self.xp.empty(shape, dtype)

    def zeros(self, shape: Shape, dtype: Any) -> Array:
        return self.xp.zeros(shape, dtype)

    def allocate(self, nbytes: int) -> Array:
        return self.xp.zeros(nbytes, np.uint8)  # CuPy's pool aligns to 512 bytes

    def gemm(
        self,
        a: Array,
        b: Array,
        out: Array | None = None,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
        bias: Array | None = None,
    ) -> Array:
        if flops.counting():
            batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            flops.count_gemm(a.shape[-2], b.shape[-1], a.shape[-1], math.prod(batch))
        found = multiply(self.xp, a, b, out, alpha=alpha, beta=beta, bias=bias)
        return self._by_matmul(a, b, out, alpha, beta, bias) if found is None else found

    def _by_matmul(
        self, a: Array, b: Array, out: Array | None, alpha: float, beta: float, bias: Array | None
    ) -> Array:
        """Products of types that cuBLASLt does not multiply: integers, complex numbers."""
        if beta == 0.0 or out is None:
            result = self.xp.matmul(a, b)
            if alpha != 1.0:
                result *= alpha
            if out is None:
                out = result
            else:
                out[...] = result
        else:
            if beta != 1.0:
                out *= beta
            out += alpha * self.xp.matmul(a, b)
        if bias is not None:
            out += bias
        return out

    def column_sums(self, g: Array, out: Array, beta: float) -> None:
        self.gemm(self._ones(g.shape[0], g.dtype), g, out[None, :], beta=beta)

    def _ones(self, count: int, dtype: Any) -> Array:
        """A row of ones, made once: the longest so far serves the shorter ones."""
        held = self._rows.get(dtype)
        if held is None or held.shape[1] < count:
            held = self._rows[dtype] = self.xp.ones((1, count), dtype)
        return held[:, :count]

    def scatter_add_rows(self, out: Array, index: Array, rows: Array) -> None:
        # A one-hot GEMM, because float atomics would make the sum depend on scheduling.
        index = self.xp.where(index < 0, index + len(out), index)
        one_hot = (self.xp.arange(out.shape[0])[:, None] == index[None, :]).astype(rows.dtype)
        flat = rows.reshape(rows.shape[0], math.prod(rows.shape[1:]))
        out += self.gemm(one_hot, flat).reshape(out.shape)

    def windows(self, x: Array, kernel: Sequence[int], stride: Sequence[int]) -> Array:
        (n, h, w, c), (kh, kw), (sh, sw) = x.shape, kernel, stride
        s_n, s_h, s_w, s_c = x.strides
        shape = (n, (h - kh) // sh + 1, (w - kw) // sw + 1, kh, kw, c)
        strides = (s_n, s_h * sh, s_w * sw, s_h, s_w, s_c)
        return self.xp.lib.stride_tricks.as_strided(x, shape, strides)

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    def memory_in_use(self) -> int:
        return self.xp.get_default_memory_pool().used_bytes()
