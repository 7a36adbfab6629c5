"""Products without compiled code: ctypes calls BLAS, Python runs the loop over a batch."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hpcad.backend.gemm.library import Library
from hpcad.backend.gemm.spec import Gemm

Call = Callable[[], object]
Addressed = Callable[[int, int, int], object]
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
    one = _template(spec, library)
    calls = [
        one.bound(*(x + size * offset for x, offset in zip((a, b, c), at, strict=True)))
        for at in _offsets(spec)
    ]
    return calls[0] if len(calls) == 1 else functools.partial(_in_order, calls)


def addressed(spec: Gemm, library: Library) -> Addressed:
    """One product that is not empty, as a function of the addresses."""
    return _template(spec, library).called


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


# -- calls of BLAS ------------------------------------------------------------------------------


class _Template(NamedTuple):
    """A function of BLAS and its arguments, converted once; ctypes takes its own as they are."""

    function: Any
    arguments: list[Any]
    places: tuple[int, int, int]  # of a, b and c among the arguments

    def bound(self, a: int, b: int, c: int) -> Call:
        return functools.partial(self.function, *self._with(a, b, c))

    def called(self, a: int, b: int, c: int) -> None:
        self.function(*self._with(a, b, c))

    def _with(self, *addresses: int) -> list[Any]:
        given = self.arguments.copy()
        for place, address in zip(self.places, addresses, strict=True):
            given[place] = ctypes.c_void_p(address)
        return given


def _template(spec: Gemm, library: Library) -> _Template:
    vector = spec.dtype in library.gemv and 1 in (spec.m, spec.n) and spec.k > 0
    return _gemv(spec, library) if vector else _gemm(spec, library)


def _gemm(spec: Gemm, library: Library) -> _Template:
    integer, alpha, beta = _types(spec, library)
    flags = [_flag(library, spec.trans_a), _flag(library, spec.trans_b)]
    if library.api == "cblas":
        flags.insert(0, ctypes.c_int(_ROW_MAJOR))
    extents = [integer(x) for x in (spec.m, spec.n, spec.k)]
    lda, ldb, ldc = (integer(x) for x in (spec.lda, spec.ldb, spec.ldc))
    arguments = [*flags, *extents, alpha, None, lda, None, ldb, beta, None, ldc]
    first = arguments.index(None)
    return _Template(_function(library.gemm[spec.dtype]), arguments, (first, first + 2, first + 5))


def _gemv(spec: Gemm, library: Library) -> _Template:
    """A ``c`` of one column is ``op(a) b``; one of one row, ``op(b)^T a^T``."""
    integer, alpha, beta = _types(spec, library)
    column = spec.n == 1
    trans = spec.trans_a if column else not spec.trans_b
    out, step_out = (spec.m, spec.ldc) if column else (spec.n, 1)
    if column:
        step = 1 if spec.trans_b else spec.ldb
    else:
        step = spec.lda if spec.trans_a else 1
    extents = [integer(x) for x in ((spec.k, out) if trans else (out, spec.k))]
    ld, step, step_out = map(integer, (spec.lda if column else spec.ldb, step, step_out))
    flags = [ctypes.c_int(_ROW_MAJOR), _flag(library, trans)]
    arguments = [*flags, *extents, alpha, None, ld, None, step, beta, None, step_out]
    places = (5, 7, 10) if column else (7, 5, 10)
    return _Template(_function(library.gemv[spec.dtype]), arguments, places)


def _flag(library: Library, trans: bool) -> Any:
    if library.api == "dnnl":
        return ctypes.c_char(b"T" if trans else b"N")
    return ctypes.c_int(_TRANSPOSED if trans else _PLAIN)


def _types(spec: Gemm, library: Library) -> tuple[Any, Any, Any]:
    """The type of integers, and the factors: complex ones are passed by address."""
    integer = ctypes.c_int64 if library.bits == 64 else ctypes.c_int32
    if (real := _REALS.get(spec.dtype)) is not None:
        return integer, real(spec.alpha.real), real(spec.beta.real)
    pair = (ctypes.c_float if spec.dtype == "complex64" else ctypes.c_double) * 2
    return integer, pair(spec.alpha.real, spec.alpha.imag), pair(spec.beta.real, spec.beta.imag)


@functools.cache
def _function(address: int) -> Any:
    return ctypes.CFUNCTYPE(None)(address)


# -- NumPy instead of BLAS ----------------------------------------------------------------------


def _with_matmul(spec: Gemm, a: int, b: int, c: int) -> Call:
    left = view(spec, a, spec.m, spec.k, spec.trans_a, spec.lda, spec.stride_a)
    right = view(spec, b, spec.k, spec.n, spec.trans_b, spec.ldb, spec.stride_b)
    out = view(spec, c, spec.m, spec.n, False, spec.ldc, spec.stride_c)
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


def view(
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
