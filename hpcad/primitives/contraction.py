"""Contractions: sums of products over named axes, each a GEMM where anything is summed.

An axis carries a label, one character. ``contract`` multiplies two arrays and sums over the
labels that both have and the answer has not; it is bilinear, and its adjoints are contractions
again: of the cotangent with the other argument, onto the labels of the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import backend_of, flops
from hpcad.errors import ShapeError
from hpcad.primitives.precision import widened

Shape = tuple[int, ...]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _sizes(a: Shape, b: Shape, left: str, right: str) -> dict[str, int]:
    sizes = dict(zip(left, a, strict=True))
    for label, size in zip(right, b, strict=True):
        if sizes.setdefault(label, size) != size:
            raise ShapeError(
                f"axes of different lengths are multiplied: {left}{list(a)} and {right}{list(b)} "
                f"differ in {label!r}"
            )
    return sizes


def _contract(a: Any, b: Any, *, left: str, right: str, out: str) -> Any:
    sizes = _sizes(a.shape, b.shape, left, right)
    summed = [label for label in left if label not in out]
    if not summed:
        return np.multiply(_aligned(a, left, out), _aligned(b, right, out))
    batch = [label for label in out if label in left and label in right]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]
    lead = tuple(sizes[label] for label in batch)
    m, k, n = (math.prod(sizes[label] for label in group) for group in (rows, summed, columns))
    if batch and not rows and not columns:
        # A GEMM of a row by a column each: strided sums are as fast, and need no copies.
        flops.count_gemm(m, n, k, math.prod(lead))
        kind = np.result_type(a, b)  # NumPy has no einsum of bfloat16, and sums float16 as such
        sums = np.einsum(f"{left},{right}->{out}", widened(a), widened(b))
        return sums.astype(kind, copy=False)
    product = backend_of(a).gemm(
        _permuted(a, left, batch + rows + summed).reshape(*lead, m, k),
        _permuted(b, right, batch + summed + columns).reshape(*lead, k, n),
    )
    order = batch + rows + columns
    return _permuted(product.reshape([sizes[label] for label in order]), "".join(order), out)


def _permuted(x: Any, labels: str, order: Sequence[str]) -> Any:
    axes = [labels.index(label) for label in order]
    return x if axes == sorted(axes) else x.transpose(axes)


def _aligned(x: Any, labels: str, out: str) -> Any:
    """``x`` with its axes in the order of ``out``, and length 1 for labels it does not have."""
    x = _permuted(x, labels, [label for label in out if label in labels])
    return x[tuple(slice(None) if label in labels else None for label in out)]


def _contracted(a: Shape, b: Shape, *, left: str, right: str, out: str) -> Shape:
    sizes = _sizes(a, b, left, right)
    return tuple(sizes[label] for label in out)


contract = Primitive(
    "contract",  # every label that is not in ``out`` must be in both arguments
    _contract,
    _contracted,
    [
        lambda g, _z, _a, b, left, right, out: contract(g, b, left=out, right=right, out=left),
        lambda g, _z, a, _b, left, right, out: contract(a, g, left=left, right=out, out=right),
    ],
    jvp="linear",
)


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over the paired axes of ``a`` and ``b``; one GEMM.

    Parameters
    ----------
    a, b : array
    axes : int, or pair of sequences of int
        The last ``axes`` of ``a`` with the first ``axes`` of ``b``, in order; or which axes of
        ``a`` with which of ``b``.

    Returns
    -------
    array
        The other axes of ``a``, then those of ``b``.
    """
    na, nb = len(np.shape(a)), len(np.shape(b))
    if hasattr(axes, "__index__"):
        count = int(axes)
        if not 0 <= count <= min(na, nb):
            raise ShapeError(f"tensordot over {count} axes, but the arrays have {na} and {nb} axes")
        of_a, of_b = tuple(range(na - count, na)), tuple(range(count))
    else:
        of_a, of_b = (
            normalize_axis_tuple(given, n) for given, n in zip(axes, (na, nb), strict=True)
        )
    if len(of_a) != len(of_b):
        raise ShapeError(f"tensordot pairs {len(of_a)} axes of a with {len(of_b)} axes of b")
    left = LETTERS[:na]
    right = list(LETTERS[na : na + nb])
    for i, j in zip(of_a, of_b, strict=True):
        right[j] = left[i]
    kept = [left[i] for i in range(na) if i not in of_a]
    kept += [right[j] for j in range(nb) if j not in of_b]
    return contract(a, b, left=left, right="".join(right), out="".join(kept))


# -- diagonals of matrices ----------------------------------------------------------------


def _length(rows: int, columns: int, offset: int) -> int:
    return max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)


def _from_diagonal(g: Any, *, offset: int, rows: int, columns: int) -> Any:
    out = backend_of(g).zeros((*g.shape[:-1], rows, columns), g.dtype)
    places = backend_of(g).xp.arange(_length(rows, columns, offset)) - min(offset, 0)
    out[..., places, places + offset] = g
    return out


def _diagonal_vjp(g: Any, _z: Any, _x: Any, offset: int, rows: int, columns: int) -> Any:
    return from_matrix_diagonal(g, offset=offset, rows=rows, columns=columns)


def _from_diagonal_vjp(g: Any, _z: Any, _x: Any, offset: int, rows: int, columns: int) -> Any:
    return matrix_diagonal(g, offset=offset, rows=rows, columns=columns)


matrix_diagonal = Primitive(
    "matrix_diagonal",
    lambda x, *, offset, rows, columns: np.diagonal(x, offset, -2, -1),
    lambda x, *, offset, rows, columns: (*x[:-2], _length(rows, columns, offset)),
    [_diagonal_vjp],
    jvp="linear",
)
from_matrix_diagonal = Primitive(
    "from_matrix_diagonal",  # the adjoint of matrix_diagonal: a matrix of zeros around it
    _from_diagonal,
    lambda x, *, offset, rows, columns: (*x[:-1], rows, columns),
    [_from_diagonal_vjp],
    jvp="linear",
)


def diagonal(x: Any, offset: int = 0) -> Any:
    """The diagonals of the matrices in the last two axes."""
    shape = np.shape(x)
    if len(shape) < 2:
        raise ShapeError(f"diagonal needs at least two axes; the array has shape {shape}")
    rows, columns = shape[-2:]
    return matrix_diagonal(x, offset=int(offset), rows=rows, columns=columns)


def as_diagonal(x: Any) -> Any:
    """Square matrices with the vectors in the last axis on their diagonals."""
    n = np.shape(x)[-1]
    return from_matrix_diagonal(x, offset=0, rows=n, columns=n)


# -- cross product ------------------------------------------------------------------------

cross = Primitive(
    "cross",
    lambda a, b, *, axis: np.cross(a, b, axis=axis),
    lambda a, b, *, axis: np.broadcast_shapes(a, b),
    [  # g . (a x b) = a . (b x g) = b . (g x a)
        lambda g, _z, _a, b, axis: cross(b, g, axis=axis),
        lambda g, _z, a, _b, axis: cross(g, a, axis=axis),
    ],
    jvp="linear",
)
