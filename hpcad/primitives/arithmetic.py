"""The arithmetic of the rules: sums, products and quotients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import backend_of
from hpcad.backend.half import is_inexact
from hpcad.primitives.builders import binary, unary
from hpcad.primitives.shapes import broadcast

# -- products in which 0 beats infinity ---------------------------------------------------------

_SMALL = 4096  # elements; up to here one pass that counts is cheaper than two vectorised ones


def _masked(operation: np.ufunc) -> Callable[[Any, Any], Any]:
    """``operation`` where its first argument is not 0, and 0 where it is.

    ``where(x > 0, sqrt(x), 0)`` sends the root at 0 a cotangent of 0 and has a slope of infinity
    there; what the mask cut off must stay 0. Looking for zeros costs a fraction of the operation,
    and skipping them keeps NumPy from warning of a 0 / 0 that nobody asked for.
    """

    def value(g: Any, slope: Any) -> Any:
        if type(g) is not np.ndarray:
            xp = backend_of(g).xp
            if xp is not np:
                product = operation(g, slope)
                return xp.where(g == 0, product.dtype.type(0), product)
            g = np.asarray(g)
        filled = np.count_nonzero(g if g.size < _SMALL else g != 0)
        if filled == g.size:
            return operation(g, slope)
        return _applied_where(g != 0, operation, g, slope)

    return value


def _zero_multiply(x: Any, y: Any) -> Any:
    filled = (x != 0) & (y != 0)
    xp = backend_of(filled).xp
    if xp is np:
        return _applied_where(filled, np.multiply, x, y)
    product = np.multiply(x, y)
    return xp.where(filled, product, product.dtype.type(0))


def _applied_where(mask: Any, operation: np.ufunc, x: Any, y: Any) -> Any:
    shape = np.broadcast_shapes(np.shape(x), np.shape(y))
    return operation(x, y, out=np.zeros(shape, np.result_type(x, y)), where=mask)


# The derivatives of the masked products are products in which both factors may be cut off.
# fmt: off
masked_multiply = binary(
    "masked_multiply", _masked(np.multiply), lambda g, _z, _x, y: zero_multiply(g, y),
                                             lambda g, _z, x, _y: zero_multiply(x, g))
masked_divide = binary(
    "masked_divide", _masked(np.divide), lambda g, _z, _x, y: masked_divide(g, y),
                                         lambda g, z, _x, y: -masked_divide(zero_multiply(z, g), y))
zero_multiply = binary(
    "zero_multiply", _zero_multiply, lambda g, _z, _x, y: zero_multiply(g, y),
                                     lambda g, _z, x, _y: zero_multiply(x, g))


def _over(g: Any, y: Any) -> Any:
    """``g / y``; an ordinary quotient by a number, which is not 0 here and there."""
    return divide(g, y) if isinstance(y, int | float | complex) else masked_divide(g, y)


add      = binary("add",      np.add,      lambda g, _z, _x, _y: g,
                                           lambda g, _z, _x, _y: g)
subtract = binary("subtract", np.subtract, lambda g, _z, _x, _y: g,
                                           lambda g, _z, _x, _y: -g)
multiply = binary("multiply", np.multiply, lambda g, _z, _x, y: g * y,
                                           lambda g, _z, x, _y: g * x)
divide   = binary("divide",   np.divide,   lambda g, _z, _x, y: _over(g, y),
                                           lambda g, z, _x, y: -masked_multiply(g, divide(z, y)))

negative   = unary("negative",   np.negative,   lambda g, _z, _x: -g)
positive   = unary("positive",   np.positive,   lambda g, _z, _x: g)
square     = unary("square",     np.square,     lambda g, _z, x: g * (x * 2))
reciprocal = unary("reciprocal", np.reciprocal,
                   lambda g, _z, x: -masked_divide(masked_divide(g, x), x))
# fmt: on


# -- conversion of dtypes -----------------------------------------------------------------------


def _cast(x: Any, *, dtype: Any) -> Any:
    if x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        x = x.real
    return x.astype(dtype)


_cast_inexact = Primitive(
    "cast",
    _cast,
    broadcast,
    [lambda g, _z, _x, dtype: g],  # the tape casts the cotangent back
    jvp="linear",
)
_cast_discrete = Primitive("cast_to_discrete", _cast, broadcast, constant=True)


def cast(x: Any, dtype: Any) -> Any:
    """Convert to another dtype; to integers and booleans it is a step function."""
    return (_cast_inexact if is_inexact(np.dtype(dtype)) else _cast_discrete)(x, dtype=dtype)
