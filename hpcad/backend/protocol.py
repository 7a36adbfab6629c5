"""The protocol that every array backend fulfils."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

Array = Any  # numpy.ndarray or a device array; CuPy is optional, so it cannot be named here
Shape = tuple[int, ...]


class Backend(Protocol):
    """Memory, GEMM and the few kernels that NumPy's dispatch protocols cannot express.

    Attributes
    ----------
    name : str
        ``"numpy"``, ``"cupy"`` or ``"strict"``.
    xp : module
        The array namespace.
    """

    @property
    def name(self) -> str: ...

    @property
    def xp(self) -> ModuleType: ...

    @property
    def device(self) -> str:
        """Its name for :func:`hpcad.backend.get_backend`."""
        ...

    @property
    def on_device(self) -> bool:
        """Whether its arrays lie where NumPy cannot read them."""
        ...

    @property
    def chunk_bytes(self) -> int:
        """Size of the pieces in which a long chain of elementwise passes is best made."""
        ...

    @property
    def block_bytes(self) -> int:
        """Size of a temporary matrix that is best for one GEMM of a convolution."""
        ...

    def asarray(self, value: Any, dtype: Any = None) -> Array:
        """Put ``value`` into this backend's memory (no copy when it is there already)."""
        ...

    def to_host(self, array: Array) -> np.ndarray:
        """Return a NumPy array with the values of ``array`` (no copy on the CPU)."""
        ...

    def empty(self, shape: Shape, dtype: Any) -> Array:
        """Return uninitialised memory."""
        ...

    def zeros(self, shape: Shape, dtype: Any) -> Array:
        """Return zeroed memory."""
        ...

    def allocate(self, nbytes: int) -> Array:
        """Return ``nbytes`` zeroed bytes, aligned to 64, for an :class:`~hpcad.backend.Arena`."""
        ...

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
        """Compute ``alpha * a @ b + beta * out (+ bias)``; the one place that calls BLAS.

        Parameters
        ----------
        a : array, shape (..., m, k)
            Transposed views are passed to BLAS as flags, not copied.
        b : array, shape (..., k, n)
        out : array, shape (..., m, n), optional
            Written in place; required when ``beta`` is not 0.
        bias : array, shape (n,), optional
            Added to every row (the epilogue).
        """
        ...

    def column_sums(self, g: Array, out: Array, beta: float) -> None:
        """``out = beta * out + sum over rows of g``, as a product with a row of ones.

        Parameters
        ----------
        g : array, shape (m, n)
        out : array, shape (n,)
        """
        ...

    def scatter_add_rows(self, out: Array, index: Array, rows: Array) -> None:
        """``out[index[i]] += rows[i]``, repeated indices accumulated in a fixed order.

        Parameters
        ----------
        out : array, shape (n, ...)
        index : integer array, shape (m,)
        rows : array, shape (m, ...)
        """
        ...

    def windows(self, x: Array, kernel: Sequence[int], stride: Sequence[int]) -> Array:
        """View ``x`` (N, H, W, C) as patches (N, OH, OW, KH, KW, C), without a copy."""
        ...

    def synchronize(self) -> None:
        """Wait for all work that was given to the device."""
        ...

    def memory_in_use(self) -> int:
        """Bytes held by arrays of this process (device pool, or resident set on the CPU)."""
        ...
