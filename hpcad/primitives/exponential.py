"""Exponentials, logarithms, powers and roots.

Where a slope can be infinite the rule is a masked product: a cotangent of 0 stays 0.
"""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np

from hpcad.primitives.arithmetic import (
    masked_divide,
    masked_multiply,
    multiply,
    square,
    subtract,
)
from hpcad.primitives.builders import binary, is_complex, unary
from hpcad.primitives.comparison import equal, where

LN2 = math.log(2.0)
LN10 = math.log(10.0)


def _expm1(x: Any) -> Any:
    if not is_complex(x):
        return np.expm1(x)
    with np.errstate(all="ignore"):
        return _complex_expm1(x)


def _complex_expm1(x: Any) -> Any:
    """``exp(a) cos(b) - 1 + i exp(a) sin(b)`` without cancellation, and its special values."""
    a, b = np.real(x), np.imag(x)
    re = np.expm1(a) * np.cos(b) - 2 * np.square(np.sin(b / 2))
    im = np.exp(a) * np.sin(b)
    on_axis = b == 0
    re, im = np.where(on_axis, np.expm1(a) + 0.0, re), np.where(on_axis, b, im)  # + 0: of -0, too
    # exp(-inf) is 0 and exp(+inf) is infinite, in whatever direction.
    turning = np.isinf(a) & ~np.isfinite(b)
    re = np.where(turning, np.abs(a), re)
    im = np.where(turning, np.where(a < 0, a.dtype.type(0), np.abs(a) * np.nan), im)
    re = np.where(a == -np.inf, a.dtype.type(-1), re)
    return complex_of(re, im).astype(x.dtype, copy=False)


def complex_of(re: Any, im: Any) -> Any:
    """Assemble by parts: ``re + 1j * im`` would spread infinities and NaN."""
    out = np.empty_like(re, np.result_type(re, np.complex64))
    out.real, out.imag = re, im
    return out


# fmt: off
exp   = unary("exp",   np.exp,   lambda g, z, _x: g * z)
exp2  = unary("exp2",  np.exp2,  lambda g, z, _x: g * (z * LN2))
expm1 = unary("expm1", _expm1,   lambda g, _z, x: g * exp(x))  # z + 1 would cancel
log   = unary("log",   np.log,   lambda g, _z, x: masked_divide(g, x))
log2  = unary("log2",  np.log2,  lambda g, _z, x: masked_divide(g, x * LN2))
log10 = unary("log10", np.log10, lambda g, _z, x: masked_divide(g, x * LN10))
log1p = unary("log1p", np.log1p, lambda g, _z, x: masked_divide(g, x + 1))
sqrt  = unary("sqrt",  np.sqrt,  lambda g, z, _x: masked_divide(g, z * 2))
cbrt  = unary("cbrt",  np.cbrt,  lambda g, z, _x: masked_divide(g, square(z) * 3))
# fmt: on


# -- sums of exponentials -----------------------------------------------------------------------


def _weight(x: Any, z: Any) -> Any:
    """``x - z``, and 0 where they are equal, infinities included."""
    same = equal(x, z)
    return subtract(where(same, 0, x), where(same, 0, z))


# fmt: off
logaddexp  = binary("logaddexp",  np.logaddexp,
                    lambda g, z, x, _y: g * exp(_weight(x, z)),
                    lambda g, z, _x, y: g * exp(_weight(y, z)))
logaddexp2 = binary("logaddexp2", np.logaddexp2,
                    lambda g, z, x, _y: g * exp2(_weight(x, z)),
                    lambda g, z, _x, y: g * exp2(_weight(y, z)))
# fmt: on

# -- powers -------------------------------------------------------------------------------------


def _power_x(g: Any, _z: Any, x: Any, y: Any) -> Any:
    """``y x^(y-1)``; where y = 0 that is 0, also at x = 0."""
    if isinstance(y, int | float):
        if y == 2:
            return multiply(g, multiply(x, 2))
        if y >= 1:
            return multiply(g, multiply(power(x, y - 1), y))
        if y != 0:
            return masked_multiply(g, multiply(power(x, y - 1), y))
    lowered = where(equal(y, 0), 1, subtract(y, 1))
    return masked_multiply(g, masked_multiply(y, power(x, lowered)))


def _power_y(g: Any, z: Any, x: Any, _y: Any) -> Any:
    """``x^y log x``; 0 at x = 0, where x^y does not change with y."""
    if isinstance(x, int | float | complex):
        return multiply(g, multiply(z, _log_of_number(x)))
    return masked_multiply(g, masked_multiply(log(where(equal(x, 0), 1, x)), z))


def _log_of_number(x: complex) -> complex:
    if x == 0:
        return 0.0
    if isinstance(x, complex):
        return cmath.log(x)
    return math.log(x) if x > 0 else math.nan


power = binary("power", np.power, _power_x, _power_y)
