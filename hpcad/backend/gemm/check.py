"""A library is believed when its products of small matrices are those of NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from hpcad.backend.gemm.library import Library
from hpcad.backend.gemm.plain import bound
from hpcad.backend.gemm.views import describe

M, N, K = 5, 7, 3


def mistakes(library: Library) -> str:
    """What the library does wrong; empty where all is well."""
    for dtype in library.gemm:
        for trans_a, trans_b, beta in itertools.product((False, True), (False, True), (0, -2)):
            for a, b, c in _operands(dtype, trans_a, trans_b):
                expected = 3 * (a @ b) + (beta * c if beta else 0)
                if beta == 0:
                    c[...] = np.nan  # must not be read
                product = describe(a, b, c, 3, beta)
                if product is None:
                    return "the check could not describe its own matrices"
                bound(product.spec, library, product.a, product.b, product.c)()
                # Sums of small whole numbers are exact in every dtype and order.
                if not np.array_equal(c, expected):
                    return (
                        f"{dtype} ({M}, {K}) x ({K}, {N}) with trans_a={trans_a}, "
                        f"trans_b={trans_b}, beta={beta} differs from NumPy's"
                    )
    return ""


def _operands(
    dtype: str, trans_a: bool, trans_b: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Matrices, and vectors, inside of larger arrays."""
    for m, n in ((M, N), (1, N), (M, 1)):
        a = _numbers((K, m) if trans_a else (m, K), dtype)
        b = _numbers((n, K) if trans_b else (K, n), dtype)
        yield a.T if trans_a else a, b.T if trans_b else b, _numbers((m, n), dtype)


def _numbers(shape: tuple[int, int], dtype: str) -> np.ndarray:
    rows, columns = shape
    whole = np.arange(rows * (columns + 2)).reshape(rows, columns + 2) % 11 - 5
    numbers = whole.astype(dtype)
    if dtype.startswith("complex"):
        numbers += 1j * whole[::-1]
    return numbers[:, 1:-1]
