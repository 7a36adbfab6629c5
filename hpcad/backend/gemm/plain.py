"""Products without compiled code: ctypes calls BLAS, Python runs the loop over a batch."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hpcad.backend.gemm.library import Library
from hpcad.backend.gemm.spec import Gemm

Call = Callable[[], object]
_REALS: dict[str, Any] = {"float32": ctypes.c_float, "float64": ctypes.c_double}
_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112


def bound(spec: Gemm, library: Library | None, a: int, b: int, c: int) -> Call:
    """The product at these addresses as a call without arguments.

    Parameters
    ----------
    library : Library or None
        ``None``: ``np.matmul``.
    """
    if library is None:
        return _with_matmul(spec, a, b, c)
    if spec.m == 0 or spec.n == 0 or spec.items == 0:
        return _nothing
    size = np.dtype(spec.dtype).itemsize
    calls = [
        _one(spec, library, *(x + size * offset for x, offset in zip((a, b, c), at, strict=True)))
        for at in _offsets(spec)
    ]
    return calls[0] if len(calls) == 1 else functools.partial(_in_order, calls)


def _offsets(spec: Gemm) -> Iterator[list[int]]:
    """Of each item of the batch, in elements."""
    for index in itertools.product(*map(range, spec.batch)):
        yield [
            sum(i * s for i, s in zip(index, strides, strict=True))
            for strides in (spec.stride_a, spec.stride_b, spec.stride_c)
        ]


def _in_order(calls: list[Call]) -> None:
    for call in calls:
        call()


def _nothing() -> None:
    """A product with no elements."""


def _one(spec: Gemm, library: Library, a: int, b: int, c: int) -> Call:
    prototype = _prototype(library, spec.dtype)
    function = prototype(library.gemm[spec.dtype])
    flags: tuple[Any, ...]
    if library.api == "dnnl":
        flags = tuple(b"T" if trans else b"N" for trans in (spec.trans_a, spec.trans_b))
    else:
        transposed = (spec.trans_a, spec.trans_b)
        flags = (_ROW_MAJOR, *(_TRANSPOSED if trans else _PLAIN for trans in transposed))
    alpha, beta = (_factor(spec.dtype, x) for x in (spec.alpha, spec.beta))
    given = (*flags, spec.m, spec.n, spec.k, alpha, a, spec.lda, b, spec.ldb, beta, c, spec.ldc)
    # Converted once; ctypes takes its own objects as they are.
    ready = [
        x if isinstance(x, ctypes.Array) else t(x)
        for t, x in zip(prototype._argtypes_, given, strict=True)
    ]
    return functools.partial(function, *ready)


def _factor(dtype: str, value: complex) -> Any:
    if dtype in _REALS:
        return float(value.real)
    real = ctypes.c_float if dtype == "complex64" else ctypes.c_double
    return (real * 2)(value.real, value.imag)


@functools.cache
def _prototype(library: Library, dtype: str) -> Any:
    integer = ctypes.c_int64 if library.bits == 64 else ctypes.c_int32
    factor = _REALS.get(dtype, ctypes.c_void_p)
    pointer = ctypes.c_void_p
    if library.api == "dnnl":
        flags: tuple[Any, ...] = (ctypes.c_char, ctypes.c_char)
    else:
        flags = (ctypes.c_int,) * 3
    sizes, operand = (integer,) * 3, (pointer, integer)
    return ctypes.CFUNCTYPE(None, *flags, *sizes, factor, *operand, *operand, factor, *operand)


# -- NumPy instead of BLAS ----------------------------------------------------------------------


def _with_matmul(spec: Gemm, a: int, b: int, c: int) -> Call:
    left = _view(spec, a, spec.m, spec.k, spec.trans_a, spec.lda, spec.stride_a)
    right = _view(spec, b, spec.k, spec.n, spec.trans_b, spec.ldb, spec.stride_b)
    out = _view(spec, c, spec.m, spec.n, False, spec.ldc, spec.stride_c)
    return functools.partial(_matmul, left, right, out, spec.alpha, spec.beta)


def _matmul(a: np.ndarray, b: np.ndarray, c: np.ndarray, alpha: complex, beta: complex) -> None:
    product = np.matmul(a, b, out=c if beta == 0 else None)
    if alpha != 1:
        product *= alpha
    if beta == 1:
        c += product
    elif beta != 0:
        c *= beta
        c += product


def _view(
    spec: Gemm, pointer: int, rows: int, columns: int, trans: bool, ld: int, steps: tuple[int, ...]
) -> np.ndarray:
    """The array at an address."""
    dtype = np.dtype(spec.dtype)
    low = sum(min(0, (n - 1) * s) for n, s in zip(spec.batch, steps, strict=True))
    high = sum(max(0, (n - 1) * s) for n, s in zip(spec.batch, steps, strict=True))
    held = (columns - 1) * ld + rows if trans else (rows - 1) * ld + columns
    if min(rows, columns, spec.items) == 0:
        return np.zeros((*spec.batch, rows, columns), dtype)
    count = high - low + held
    start = pointer + low * dtype.itemsize
    memory: Any = (ctypes.c_char * (count * dtype.itemsize)).from_address(start)
    flat = np.frombuffer(memory, dtype)[-low:]
    strides = (*steps, 1, ld) if trans else (*steps, ld, 1)
    in_bytes = [s * dtype.itemsize for s in strides]
    return as_strided(flat, (*spec.batch, rows, columns), in_bytes)
