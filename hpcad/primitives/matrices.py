"""Matrix notation for rules: the last two axes are matrices, those before them a batch.

Cotangents are not conjugated (the pairing is ``Re sum(g * dz)``), while papers on complex matrices
write the conjugate ``G = conj(g)``. The rules here are those of the papers, conjugated through.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of
from hpcad.primitives import elementwise
from hpcad.primitives.layout import expand_dims, matrix_transpose
from hpcad.primitives.product import matmul_primitive as mm

T = matrix_transpose

__all__ = ["H", "T", "columns", "conj", "hermitian", "imag", "lower", "mm", "real", "reciprocal",
           "rows", "upper"]  # fmt: skip


def conj(x: Any) -> Any:
    """The complex conjugate; real numbers unchanged."""
    return elementwise.conj(x) if x.dtype.kind == "c" else x


def real(x: Any) -> Any:
    """The real part; real numbers unchanged."""
    return elementwise.real(x) if x.dtype.kind == "c" else x


def imag(x: Any) -> Any:
    """The imaginary part of complex numbers."""
    return elementwise.imag(x)


def H(x: Any) -> Any:  # noqa: N802  (the name of the operation)
    """The conjugate transpose."""
    return T(conj(x))


def hermitian(x: Any) -> Any:
    """``(x + x^H) / 2``. This map is its own adjoint."""
    return 0.5 * (x + H(x))


def rows(v: Any) -> Any:
    """The vectors in the last axis as matrices of one row: scales or subtracts by column."""
    return expand_dims(v, -2)


def columns(v: Any) -> Any:
    """The vectors in the last axis as matrices of one column: scales or subtracts by row."""
    return expand_dims(v, -1)


def _triangle(x: Any, offset: int) -> Any:
    xp = backend_of(value_of(x)).xp
    return xp.tri(*np.shape(x)[-2:], offset, dtype=bool)


def lower(x: Any, offset: int = 0) -> Any:
    """The lower triangle, with zeros above it."""
    return elementwise.where(_triangle(x, offset), x, 0)


def upper(x: Any, offset: int = 0) -> Any:
    """The upper triangle, with zeros below it."""
    return elementwise.where(_triangle(x, offset - 1), 0, x)


def reciprocal(x: Any, scale: Any) -> Any:
    """``1 / x``, and 0 where x is 0 to rounding: at most ``n eps scale``.

    Parameters
    ----------
    x : array, shape (..., n)
    scale : array that broadcasts against x
        The size of the numbers of which x is a difference; plain values.
    """
    plain, size = value_of(x), value_of(scale)
    eps = np.finfo(plain.dtype).eps
    vanishing = np.abs(plain) <= plain.shape[-1] * eps * size
    return elementwise.where(vanishing, 0, 1 / elementwise.where(vanishing, 1, x))


def each_matrix(function: Any, x: Any) -> Any:
    """A function of SciPy's of every matrix of a stack; CuPy's take one at a time.

    Parameters
    ----------
    function : callable
        Returns one matrix or several.
    x : plain array, shape (..., n, n)
    """
    if len(x.shape) == 2 or not backend_of(x).on_device:
        return function(x)
    found = [function(matrix) for matrix in x.reshape(-1, *x.shape[-2:])]
    if not isinstance(found[0], tuple):
        return np.stack(found).reshape(x.shape)
    return tuple(np.stack(parts).reshape(x.shape) for parts in zip(*found, strict=True))
