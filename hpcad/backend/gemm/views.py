"""From NumPy views to what BLAS is told: pointers, flags and strides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hpcad.backend.gemm.spec import DTYPES, Gemm

Strides = tuple[int, ...]


class Matrix(NamedTuple):
    """How BLAS is given a two-dimensional view.

    Attributes
    ----------
    pointer : int
        Address of the first element.
    trans : bool
        What lies in memory, row by row, is the transposed matrix.
    ld : int
        Elements from one row in memory to the next.
    """

    pointer: int
    trans: bool
    ld: int


class Product(NamedTuple):
    """A product of arrays: what :func:`hpcad.backend.gemm.bind` takes."""

    spec: Gemm
    a: int
    b: int
    c: int


def matrix(view: np.ndarray) -> Matrix | None:
    """How a two-dimensional view can be passed to BLAS without a copy.

    Returns
    -------
    Matrix or None
        ``None`` for a view that needs a copy (steps along both axes, negative strides).
    """
    found = layout(view.shape, view.strides, view.itemsize)
    return None if found is None else Matrix(address(view), *found)


def address(array: np.ndarray) -> int:
    """Where the first element lies."""
    return array.__array_interface__["data"][0]


def layout(shape: tuple[int, ...], strides: Strides, itemsize: int) -> tuple[bool, int] | None:
    """``(trans, ld)`` of the last two axes, from strides in bytes; see :func:`matrix`.

    Where both layouts describe it (one row, one column), the flag is off.
    """
    (rows, columns), (down, along) = shape[-2:], strides[-2:]
    if rows == 0 or columns == 0:
        return False, max(1, columns)  # NumPy's strides mean nothing then
    if (columns <= 1 or along == itemsize) and _steps(rows, columns, down, itemsize):
        return False, _leading(rows, columns, down, itemsize)
    if (rows <= 1 or down == itemsize) and _steps(columns, rows, along, itemsize):
        return True, _leading(columns, rows, along, itemsize)
    return None


def _steps(rows: int, row: int, stride: int, itemsize: int) -> bool:
    """Whether rows follow each other in whole elements, and do not overlap."""
    return rows <= 1 or (stride % itemsize == 0 and stride >= max(1, row) * itemsize)


def _leading(rows: int, row: int, stride: int, itemsize: int) -> int:
    """The stride of a single row means nothing, and may be too small for BLAS."""
    return max(1, row) if rows <= 1 else stride // itemsize


def describe(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, alpha: complex = 1.0, beta: complex = 0.0
) -> Product | None:
    """``c = alpha * a @ b + beta * c`` on these arrays, without copies.

    A ``c`` that lies column by column is written as the transposed product.

    Parameters
    ----------
    a : array, shape (..., m, k)
    b : array, shape (..., k, n)
    c : array, shape (..., m, n)
        Batch axes of ``a`` and ``b`` broadcast to those of ``c``.

    Returns
    -------
    Product or None
        ``None`` where BLAS cannot be given the arrays as they are: shapes that do not fit, vectors,
        dtypes that differ or that it does not know, steps along both axes of a matrix.
    """
    if not (a.dtype == b.dtype == c.dtype and a.dtype.name in DTYPES and a.dtype.isnative):
        return None
    if min(a.ndim, b.ndim, c.ndim) < 2 or max(a.ndim, b.ndim) > c.ndim:
        return None
    if (a.shape[-1], c.shape[-2:]) != (b.shape[-2], (a.shape[-2], b.shape[-1])):
        return None
    lying = layout(c.shape, c.strides, c.itemsize)
    if lying is None:
        return None
    if lying[0]:
        a, b, c = b.swapaxes(-1, -2), a.swapaxes(-1, -2), c.swapaxes(-1, -2)
    spec = _of_rows(a, b, c, alpha, beta)
    return None if spec is None else Product(spec, address(a), address(b), address(c))


def _of_rows(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, alpha: complex, beta: complex
) -> Gemm | None:
    """The product with a ``c`` that lies row by row."""
    layouts = [layout(x.shape, x.strides, x.itemsize) for x in (a, b, c)]
    steps = [_batch_strides(x, c.shape[:-2]) for x in (a, b, c)]
    repeats = any(n > 1 and step == 0 for n, step in zip(c.shape, steps[2] or (), strict=False))
    if None in layouts or None in steps or repeats:
        return None
    (trans_a, lda), (trans_b, ldb), (_, ldc) = layouts  # type: ignore[misc]
    return Gemm(
        dtype=c.dtype.name,
        m=c.shape[-2],
        n=c.shape[-1],
        k=a.shape[-1],
        trans_a=trans_a,
        trans_b=trans_b,
        lda=lda,
        ldb=ldb,
        ldc=ldc,
        batch=c.shape[:-2],
        stride_a=steps[0],  # type: ignore[arg-type]
        stride_b=steps[1],  # type: ignore[arg-type]
        stride_c=steps[2],  # type: ignore[arg-type]
        alpha=alpha,
        beta=beta,
    )


def _batch_strides(x: np.ndarray, batch: tuple[int, ...]) -> Strides | None:
    """Elements from one matrix to the next along each axis of the batch; 0 where repeated."""
    missing = len(batch) - (x.ndim - 2)
    strides = [0] * missing
    for have, want, stride in zip(x.shape[:-2], batch[missing:], x.strides, strict=False):
        if have not in (1, want) or stride % x.itemsize:
            return None
        strides.append(0 if have == 1 else stride // x.itemsize)
    return tuple(strides)
