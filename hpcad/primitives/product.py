"""Matrix products. All of them end in :meth:`Backend.gemm`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import backend_of
from hpcad.backend.half import accumulator
from hpcad.errors import ShapeError
from hpcad.primitives import shapes
from hpcad.primitives.elementwise import cast
from hpcad.primitives.layout import matrix_transpose, reshape
from hpcad.primitives.reduction import sum
from hpcad.primitives.shapes import as_array


def _matmul(a: Any, b: Any, *, dtype: Any = None) -> Any:
    """The product in the type of the factors, or in another one, without a rounding between."""
    backend = backend_of(a)
    if dtype is None:
        return backend.gemm(a, b)
    return backend.gemm(a, b, backend.empty(shapes.matmul(a.shape, b.shape), dtype))


matmul_primitive = Primitive(
    "matmul",
    _matmul,
    lambda a, b, *, dtype=None: shapes.matmul(a, b),
    [
        lambda g, _z, _a, b, dtype=None: matmul_primitive(g, matrix_transpose(b)),
        lambda g, _z, a, _b, dtype=None: matmul_primitive(matrix_transpose(a), g),
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


def _linear(x: Any, w: Any, b: Any, *, dtype: Any = None) -> Any:
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
    x, w, b = (in_type(a, dtype) for a in (x, w, b))
    y = backend_of(x).gemm(_rows(x), w, bias=b)
    return y.reshape(*x.shape[:-1], w.shape[1])


def in_type(x: Any, dtype: Any) -> Any:
    """An array (or tensor) in a type; None, and anything for no type, as it is."""
    if x is None or dtype is None or x.dtype == dtype:
        return x
    return cast(x, dtype=dtype)


def summed_in(dtype: Any) -> Any:
    """The type of the gradients of weights whose products are in ``dtype``; None where it is."""
    return None if dtype is None else accumulator(np.dtype(dtype))


def _flat(x: Any) -> Any:
    shape = np.shape(x)
    return x if len(shape) == 2 else reshape(x, (math.prod(shape[:-1]), shape[-1]))


def _linear_x(g: Any, _y: Any, _x: Any, w: Any, _b: Any, dtype: Any = None) -> Any:
    dx = matmul_primitive(_flat(g), matrix_transpose(in_type(w, dtype)))
    return reshape(dx, (*np.shape(g)[:-1], np.shape(w)[0]))


def _linear_w(g: Any, _y: Any, x: Any, _w: Any, _b: Any, dtype: Any = None) -> Any:
    factors = matrix_transpose(_flat(in_type(x, dtype))), _flat(g)
    return matmul_primitive(*factors, **given(summed_in(dtype)))


def _linear_w_into(
    out: Any, beta: float, g: Any, _y: Any, x: Any, _w: Any, _b: Any, dtype: Any = None
) -> None:
    backend_of(g).gemm(_rows(in_type(x, dtype)).T, _rows(g), out, beta=beta)


def _linear_b(g: Any, _y: Any, _x: Any, _w: Any, _b: Any, dtype: Any = None) -> Any:
    return sum(in_type(_flat(g), summed_in(dtype)), axis=0)


def _linear_b_into(
    out: Any, beta: float, g: Any, _y: Any, _x: Any, _w: Any, _b: Any, dtype: Any = None
) -> None:
    backend_of(g).column_sums(_rows(g), out, beta)


linear_primitive = Primitive(
    "linear",
    _linear,
    lambda x, w, _b, *, dtype=None: (*x[:-1], w[1]),
    [_linear_x, _linear_w, _linear_b],
    jvp=[
        lambda t, _y, _x, w, _b, dtype=None: linear_primitive(t, w, None, **given(dtype)),
        lambda t, _y, x, _w, _b, dtype=None: linear_primitive(x, t, None, **given(dtype)),
        lambda t, _y, _x, _w, _b, dtype=None: t,
    ],
    into={1: _linear_w_into, 2: _linear_b_into},
)


def given(dtype: Any) -> dict[str, Any]:
    """The parameter ``dtype``, where there is one."""
    return {} if dtype is None else {"dtype": dtype}


def linear(x: Any, w: Any, b: Any = None, *, dtype: Any = None) -> Any:
    """``y = x W + b``.

    Parameters
    ----------
    x : array, shape (..., k)
    w : array, shape (k, n)
    b : array, shape (n,), optional
    dtype : dtype, optional
        That the product is computed and returned in: the other arrays are converted to it, and
        their cotangents keep their types. So the weights of layers in half precision may be
        float32, and ``dW`` and ``db`` are summed up in float32, and never rounded to half.

    Returns
    -------
    array, shape (..., n)

    Notes
    -----
    GEMM m = product of leading axes, n, k. VJP: ``dx = g W^T``, ``dW = x^T g``, ``db = sum g``;
    ``dW`` is written straight into the gradient of a parameter.
    """
    return linear_primitive(x, w, b, **given(dtype))
