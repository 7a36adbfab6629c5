"""Circular and hyperbolic functions and their inverses, on the real line and in the plane."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend.half import is_inexact
from hpcad.primitives.arithmetic import (
    masked_divide,
    square,
)
from hpcad.primitives.builders import binary, floating, unary
from hpcad.primitives.exponential import complex_of, sqrt
from hpcad.primitives.precision import in_single
from hpcad.primitives.shapes import broadcast


def _ring(x: Any) -> Any:
    """``1 - x^2`` without cancellation near 1."""
    return (1 - x) * (x + 1)


def _acosh_slope(x: Any) -> Any:
    """Two roots, because ``sqrt(x^2 - 1)`` has another branch in the left half-plane."""
    return sqrt(x - 1) * sqrt(x + 1)


def _tanh_rule(g: Any, z: Any, _x: Any) -> Any:
    return g * (1 - square(z))


def _complex_tanh(x: Any) -> Any:
    """NumPy's, but at an infinite real part the 0 has the sign of the imaginary part of ``x``.

    The array API standard has it so; C gives it the sign of its sine.
    """
    z = np.tanh(x)
    beyond = np.isinf(np.real(x)) & np.isfinite(np.imag(x))
    if not beyond.any():
        return z
    return np.where(beyond, complex_of(np.sign(np.real(x)), np.copysign(0, np.imag(x))), z)


# fmt: off
complex_tanh = unary("complex_tanh", _complex_tanh, _tanh_rule)
sin   = unary("sin",   np.sin,     lambda g, _z, x: g * cos(x))
cos   = unary("cos",   np.cos,     lambda g, _z, x: -g * sin(x))
tan   = unary("tan",   np.tan,     lambda g, z, _x: g * (square(z) + 1))
asin  = unary("asin",  np.arcsin,  lambda g, _z, x: masked_divide(g, sqrt(_ring(x))))
acos  = unary("acos",  np.arccos,  lambda g, _z, x: -masked_divide(g, sqrt(_ring(x))))
atan  = unary("atan",  np.arctan,  lambda g, _z, x: masked_divide(g, square(x) + 1))
sinh  = unary("sinh",  np.sinh,    lambda g, _z, x: g * cosh(x))
cosh  = unary("cosh",  np.cosh,    lambda g, _z, x: g * sinh(x))
tanh  = unary("tanh",  np.tanh,    _tanh_rule)
asinh = unary("asinh", np.arcsinh, lambda g, _z, x: masked_divide(g, sqrt(square(x) + 1)))
acosh = unary("acosh", np.arccosh, lambda g, _z, x: masked_divide(g, _acosh_slope(x)))
atanh = unary("atanh", np.arctanh, lambda g, _z, x: masked_divide(g, _ring(x)))

# Both are smooth but at the origin; there the slopes are taken to be 0.
hypot = binary("hypot", np.hypot, lambda g, z, x, _y: g * masked_divide(x, z),
                                  lambda g, z, _x, y: g * masked_divide(y, z))
atan2 = binary("atan2", np.arctan2, lambda g, _z, y, x: g * _turn(x, y),
                                    lambda g, _z, y, x: -g * _turn(y, x))
# fmt: on


def _turn(x: Any, y: Any) -> Any:
    """``x / (x^2 + y^2)``, in two steps that do not overflow; 0 at the origin."""
    radius = hypot(x, y)
    return masked_divide(masked_divide(x, radius), radius)


# -- sinc ---------------------------------------------------------------------------------------


def _sinc(x: Any, *, order: int) -> Any:
    """The ``order``-th derivative of ``sin(pi x) / (pi x)``.

    Repeated differentiation of ``x sinc(x) = sin(pi x) / pi`` gives a recursion in the order,
    ``x f_n = (sin(pi x) / pi)^(n) - n f_(n-1)``. Near 0 it cancels; there the series is summed.
    """
    if order == 0:
        return np.sinc(x)
    xp = np.where(np.abs(x) * math.pi < order + 2, 1.0, x)
    f = np.sinc(xp)
    for n in range(1, order + 1):
        sine = np.sin(math.pi * xp + n * math.pi / 2) * math.pi ** (n - 1)
        f = (sine - n * f) / xp
    near = np.where(np.abs(x) * math.pi < order + 2, x, 0.0)
    found = np.where(np.abs(x) * math.pi < order + 2, _sinc_series(near, order), f)
    return found.astype(x.dtype if is_inexact(x.dtype) else found.dtype, copy=False)


def _sinc_series(x: Any, order: int) -> Any:
    """``sum_k (-1)^k pi^(2k) x^(2k-n) / ((2k+1) (2k-n)!)``."""
    total = 0.0 * x
    for k in range((order + 1) // 2, (order + 1) // 2 + 16 + order):
        degree = 2 * k - order
        weight = (-1) ** k * math.pi ** (2 * k) / ((2 * k + 1) * math.factorial(degree))
        total = total + weight * x**degree
    return total


_sinc_primitive = Primitive(
    "sinc",
    in_single(_sinc),
    broadcast,
    [lambda g, _z, x, order: g * _sinc_primitive(x, order=order + 1)],
    jvp="same",
)


def sinc(x: Any) -> Any:
    """``sin(pi x) / (pi x)``, and 1 at 0."""
    return _sinc_primitive(x if hasattr(x, "dtype") else floating(x), order=0)


# -- unwrap -------------------------------------------------------------------------------------


unwrap = Primitive(
    "unwrap",  # adds multiples of the period, which are locally constant
    lambda x, *, discont, axis, period: np.unwrap(x, discont, axis, period=period),
    broadcast,
    [lambda g, _z, _x, discont, axis, period: g],
    jvp="same",
)
