"""Products of the main namespace. All are bilinear, and differentiable in every argument."""

from __future__ import annotations

import math
from typing import Any

from hpcad.errors import ShapeError
from hpcad.primitives import contraction, reduction
from hpcad.primitives.einsum import einsum
from hpcad.primitives.elementwise import conj, multiply
from hpcad.primitives.layout import matrix_transpose, moveaxis, reshape
from hpcad.primitives.product import matmul
from hpcad.primitives.shapes import as_array

__all__: list[str] = [
    "cross",
    "diagonal",
    "dot",
    "einsum",
    "inner",
    "kron",
    "matmul",
    "matrix_transpose",
    "matvec",
    "outer",
    "tensordot",
    "trace",
    "vdot",
    "vecdot",
    "vecmat",
]


def tensordot(x1: Any, x2: Any, /, axes: Any = 2) -> Any:
    """Sum of products over the paired axes of two arrays; one GEMM.

    Parameters
    ----------
    x1, x2 : array
    axes : int, or pair of sequences of int
        The last ``axes`` axes of ``x1`` with the first ``axes`` axes of ``x2``, in order; or which
        axes of ``x1`` with which of ``x2``.

    Returns
    -------
    array
        The other axes of ``x1``, then those of ``x2``.
    """
    return contraction.tensordot(as_array(x1), as_array(x2), axes)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """``sum(conj(x1) * x2)`` along one axis; the other axes are broadcast."""
    left, right = (moveaxis(as_array(x), axis, -1) for x in (x1, x2))
    if left.shape[-1] != right.shape[-1]:
        raise ShapeError(
            f"vecdot: axis {axis} has length {left.shape[-1]} in the first array and "
            f"{right.shape[-1]} in the second"
        )
    return einsum("...i,...i->...", _conj(left), right)


def matvec(x1: Any, x2: Any, /) -> Any:
    """Matrices (..., m, n) times vectors (..., n)."""
    return einsum("...ij,...j->...i", x1, x2)


def vecmat(x1: Any, x2: Any, /) -> Any:
    """Conjugated vectors (..., m) times matrices (..., m, n)."""
    return einsum("...i,...ij->...j", _conj(as_array(x1)), x2)


def dot(a: Any, b: Any) -> Any:
    """Product over the last axis of ``a`` and the last but one (or only one) of ``b``."""
    a, b = as_array(a), as_array(b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    return contraction.tensordot(a, b, ((-1,), (max(b.ndim - 2, 0),)))


def inner(a: Any, b: Any) -> Any:
    """Product over the last axes of both, without conjugation."""
    a, b = as_array(a), as_array(b)
    return (
        multiply(a, b) if a.ndim == 0 or b.ndim == 0 else contraction.tensordot(a, b, ((-1,),) * 2)
    )


def outer(a: Any, b: Any) -> Any:
    """All products of an element of ``a`` with one of ``b`` (both flattened)."""
    return contraction.tensordot(_flat(a), _flat(b), 0)


def vdot(a: Any, b: Any) -> Any:
    """``sum(conj(a) * b)`` of the flattened arrays."""
    return contraction.tensordot(_conj(_flat(a)), _flat(b), 1)


def kron(a: Any, b: Any) -> Any:
    """Kronecker product: blocks ``a[i, j] * b``, in any number of dimensions."""
    a, b = as_array(a), as_array(b)
    ndim = max(a.ndim, b.ndim)
    outer_shape, inner_shape = ((1,) * (ndim - x.ndim) + tuple(x.shape) for x in (a, b))
    blocks = reshape(a, [n for size in outer_shape for n in (size, 1)])
    cells = reshape(b, [n for size in inner_shape for n in (1, size)])
    shape = [m * n for m, n in zip(outer_shape, inner_shape, strict=True)]
    return reshape(multiply(blocks, cells), shape)


def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """Cross product of vectors of three components; other axes are broadcast."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = moveaxis(as_array(a), axisa, -1), moveaxis(as_array(b), axisb, -1)
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ShapeError(
            f"cross needs vectors of three components, not of {a.shape[-1]} and {b.shape[-1]}"
        )
    return moveaxis(contraction.cross(a, b, axis=-1), -1, axisc)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """A diagonal of the matrices in two axes (the first two; last two in ``linalg``)."""
    return contraction.diagonal(moveaxis(as_array(a), (axis1, axis2), (-2, -1)), offset)


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    """Sum of a diagonal of the matrices in two axes (the first two; last two in ``linalg``)."""
    return reduction.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


def _flat(x: Any) -> Any:
    x = as_array(x)
    return reshape(x, (math.prod(x.shape),))


def _conj(x: Any) -> Any:
    return conj(x) if x.dtype.kind == "c" else x
