"""Matrix products. All of them end in :meth:`Backend.gemm`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import backend_of
from hpcad.errors import ShapeError
from hpcad.primitives import shapes
from hpcad.primitives.layout import matrix_transpose, reshape
from hpcad.primitives.reduction import sum
from hpcad.primitives.shapes import as_array

matmul_primitive = Primitive(
    "matmul",
    lambda a, b: backend_of(a).gemm(a, b),
    shapes.matmul,
    [
        lambda g, _z, _a, b: matmul_primitive(g, matrix_transpose(b)),
        lambda g, _z, a, _b: matmul_primitive(matrix_transpose(a), g),
    ],
    jvp="linear",
)


def matmul(a: Any, b: Any) -> Any:
    """Matrix product with NumPy's rules for 1-D operands and broadcast batches.

    VJP: ``dA = G B^T``, ``dB = A^T G`` (transposes without conjugation, for complex numbers, too).
    """
    a, b = as_array(a), as_array(b)
    na, nb = len(a.shape), len(b.shape)
    if na == 0 or nb == 0:
        raise ShapeError("matmul needs arrays of at least one dimension; use * for scalars")
    if a.shape[-1] != b.shape[max(nb - 2, 0)]:
        raise ShapeError(
            f"matmul: the last axis of shape {tuple(a.shape)} has length {a.shape[-1]}, but the "
            f"{'last but one' if nb > 1 else 'only'} axis of shape {tuple(b.shape)} has length "
            f"{b.shape[max(nb - 2, 0)]}; they must be equal"
        )
    left = reshape(a, (1, *np.shape(a))) if na == 1 else a
    right = reshape(b, (*np.shape(b), 1)) if nb == 1 else b
    product = matmul_primitive(left, right)
    shape = np.shape(product)
    if na == 1:
        shape = (*shape[:-2], shape[-1])
    if nb == 1:
        shape = shape[:-1]
    return product if shape == np.shape(product) else reshape(product, shape)


# -- linear: y = x W + b ------------------------------------------------------------------


def _rows(x: Any) -> Any:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _linear(x: Any, w: Any, b: Any) -> Any:
    if x.shape[-1] != w.shape[0]:
        raise ShapeError(
            f"linear: x has {x.shape[-1]} features, but the weight of shape "
            f"{tuple(w.shape)} takes {w.shape[0]}"
        )
    if b is not None and b.shape != w.shape[1:]:
        raise ShapeError(
            f"linear: a weight of shape {tuple(w.shape)} needs a bias of shape "
            f"{tuple(w.shape[1:])}, not {tuple(b.shape)}"
        )
    y = backend_of(x).gemm(_rows(x), w, bias=b)
    return y.reshape(*x.shape[:-1], w.shape[1])


def _flat(x: Any) -> Any:
    shape = np.shape(x)
    return x if len(shape) == 2 else reshape(x, (math.prod(shape[:-1]), shape[-1]))


def _linear_x(g: Any, _y: Any, _x: Any, w: Any, _b: Any) -> Any:
    dx = matmul_primitive(_flat(g), matrix_transpose(w))
    return reshape(dx, (*np.shape(g)[:-1], np.shape(w)[0]))


def _linear_w(g: Any, _y: Any, x: Any, _w: Any, _b: Any) -> Any:
    return matmul_primitive(matrix_transpose(_flat(x)), _flat(g))


def _linear_w_into(out: Any, beta: float, g: Any, _y: Any, x: Any, _w: Any, _b: Any) -> None:
    backend_of(g).gemm(_rows(x).T, _rows(g), out, beta=beta)


def _linear_b(g: Any, _y: Any, _x: Any, _w: Any, _b: Any) -> Any:
    return sum(_flat(g), axis=0)


def _linear_b_into(out: Any, beta: float, g: Any, _y: Any, _x: Any, _w: Any, _b: Any) -> None:
    backend_of(g).column_sums(_rows(g), out, beta)


linear_primitive = Primitive(
    "linear",
    _linear,
    lambda x, w, _b: (*x[:-1], w[1]),
    [_linear_x, _linear_w, _linear_b],
    jvp=[
        lambda t, _y, _x, w, _b: linear_primitive(t, w, None),
        lambda t, _y, x, _w, _b: linear_primitive(x, t, None),
        lambda t, _y, _x, _w, _b: t,
    ],
    into={1: _linear_w_into, 2: _linear_b_into},
)


def linear(x: Any, w: Any, b: Any = None) -> Any:
    """``y = x W + b``.

    Parameters
    ----------
    x : array, shape (..., k)
    w : array, shape (k, n)
    b : array, shape (n,), optional

    Returns
    -------
    array, shape (..., n)

    Notes
    -----
    GEMM m = product of leading axes, n, k. VJP: ``dx = g W^T``, ``dW = x^T g``, ``db = sum g``;
    ``dW`` is written straight into the gradient of a parameter.
    """
    return linear_primitive(x, w, b)
