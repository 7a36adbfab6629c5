"""Products and powers of matrices, and what is read off them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of
from hpcad.errors import ShapeError
from hpcad.numpy import linear_algebra as products
from hpcad.numpy.linalg.arguments import matrices
from hpcad.numpy.linear_algebra import matmul, matrix_transpose, outer, tensordot, vecdot
from hpcad.primitives import contraction, matrix_functions, solving
from hpcad.primitives.layout import reshape
from hpcad.primitives.shapes import as_array

__all__ = ["cross", "diagonal", "expm", "matmul", "matrix_power", "matrix_transpose", "multi_dot",
           "outer", "tensordot", "trace", "vecdot"]  # fmt: skip


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Cross product of vectors of three components along ``axis``; other axes are broadcast."""
    return products.cross(x1, x2, axis=axis)


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """A diagonal of the matrices in the last two axes."""
    return contraction.diagonal(as_array(x), offset)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """Sum of a diagonal of the matrices in the last two axes."""
    return products.trace(x, offset, -2, -1, dtype)


def matrix_power(x: Any, n: int, /) -> Any:
    """``n`` times the product of a matrix with itself, by repeated squaring; n < 0 inverts."""
    x, floats = as_array(x), matrices(x, "matrix_power", square=True)
    if n < 0:
        x, n = solving.inv(floats), -n
    if n == 0:
        return _identity(x)
    answer = None
    while True:
        if n & 1:
            answer = x if answer is None else matmul(answer, x)
        n >>= 1
        if not n:
            return answer
        x = matmul(x, x)


def _identity(x: Any) -> Any:
    plain = value_of(x)
    unit = backend_of(plain).xp.zeros_like(plain)
    unit[...] = backend_of(plain).xp.eye(plain.shape[-1], dtype=plain.dtype)
    return Tensor(unit) if isinstance(x, Tensor) and not getattr(x, "plain", False) else unit


def multi_dot(arrays: Sequence[Any]) -> Any:
    """The product of several matrices in the order that needs the fewest operations.

    The first and the last may be vectors.
    """
    chain = [as_array(x) for x in arrays]
    if len(chain) < 2:
        raise ShapeError("multi_dot needs at least two arrays")
    first, last = (len(chain[i].shape) == 1 for i in (0, -1))
    if first:
        chain[0] = reshape(chain[0], (1, *chain[0].shape))
    if last:
        chain[-1] = reshape(chain[-1], (*chain[-1].shape, 1))
    sizes = [chain[0].shape[0], *(x.shape[1] for x in chain)]
    splits = _splits(sizes)

    def product(i: int, j: int) -> Any:
        if i == j:
            return chain[i]
        k = splits[i, j]
        return matmul(product(i, k), product(k + 1, j))

    answer = product(0, len(chain) - 1)
    kept = [n for n, gone in zip(answer.shape, (first, last), strict=True) if not gone]
    return reshape(answer, kept) if first or last else answer


def _splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Where to split each product of a chain of matrices (dynamic programming)."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    splits: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], splits[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return splits


def expm(x: Any, /) -> Any:
    """The matrix exponential of a square matrix."""
    return matrix_functions.expm(matrices(x, "expm", square=True))
