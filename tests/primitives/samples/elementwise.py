"""Samples of the elementwise primitives; values between the points where they are not smooth."""

from __future__ import annotations

import cmath
import math

import numpy as np

rng = np.random.default_rng(17)


def real(*shape):
    return rng.standard_normal(shape)


def positive(*shape):
    return rng.uniform(0.5, 2.0, shape)


def inside(*shape):
    return rng.uniform(-0.8, 0.8, shape)


def above(*shape):
    return rng.uniform(1.2, 3.0, shape)


def apart(*shape):
    """Values no two of which are close, so that no step crosses a tie."""
    return rng.permutation(np.arange(np.prod(shape, dtype=int))).reshape(shape) * 0.37 - 1.3


def away(*shape):
    """Of either sign and not near 0."""
    return positive(*shape) * rng.choice([-1.0, 1.0], shape)


def plane(*shape):
    """Complex numbers, none of them near a branch cut or a pole."""
    angle = rng.uniform(0.3, 1.2, shape) * rng.choice([-1.0, 1.0], shape)
    return positive(*shape) * np.exp(1j * angle)


def both(make, other=None):
    """A binary elementwise primitive: equal shapes, and broadcasting both ways."""
    other = other or make
    return [
        ((make(3, 4), other(3, 4)), {}),
        ((make(3, 1), other(2, 1, 4)), {}),
        ((make(), other(2)), {}),
        ((make(0, 3), other(3)), {}),
    ]


def mixed(make):
    """Complex pairs, and a complex with a real argument, both ways."""
    return [
        ((make(3, 4), make(3, 1)), {}),
        ((make(4), positive(3, 1)), {}),
        ((positive(3, 1), make(4)), {}),
    ]


def one(make):
    return [((make(3, 4),), {}), ((make(),), {}), ((make(2, 0),), {})]


def points(make):
    return [((make(3, 2),), {}), ((make(),), {})]


MASK = rng.random((3, 4)) > 0.5
GRID = apart(3, 4)
HOLES = np.where(rng.random((3, 4)) > 0.7, np.nan, real(3, 4))
LIMITS = {"nan": 0.5, "posinf": None, "neginf": None}
TURNS = np.cumsum(rng.uniform(-1.0, 4.0, (2, 6)), axis=1)
DECIMALS = [((real(3, 4),), {"decimals": n}) for n in (0, 2)]
NEAR = {"rtol": 1e-5, "atol": 1e-8, "equal_nan": False}


def integers(*shape):
    return rng.integers(0, 7, shape)


SAMPLES = {
    # arithmetic
    "add": both(real) + mixed(plane),
    "subtract": both(real) + mixed(plane),
    "multiply": both(real) + mixed(plane),
    "divide": both(positive) + mixed(plane),
    "masked_multiply": both(away) + mixed(plane),
    "zero_multiply": both(away) + mixed(plane),
    "masked_divide": both(away) + mixed(plane),
    "negative": one(real) + points(plane),
    "positive": one(real) + points(plane),
    "square": one(real) + points(plane),
    "reciprocal": one(away) + points(plane),
    "cast": [
        ((real(3),), {"dtype": np.dtype(np.float64)}),
        ((plane(3),), {"dtype": np.dtype(np.complex128)}),
        ((real(3),), {"dtype": np.dtype(np.complex128)}),
    ],
    "cast_to_discrete": [((real(3),), {"dtype": np.dtype(np.int64)})],
    # exponentials and powers
    "exp": one(real) + points(plane),
    "exp2": one(real) + points(plane),
    "expm1": one(real) + points(plane),
    "log": one(positive) + points(plane),
    "log2": one(positive) + points(plane),
    "log10": one(positive) + points(plane),
    "log1p": one(positive) + points(plane),
    "sqrt": one(positive) + points(plane),
    "cbrt": one(away),
    "logaddexp": both(real),
    "logaddexp2": both(real),
    "power": both(positive) + mixed(plane),
    # trigonometry
    "sin": one(real) + points(plane),
    "cos": one(real) + points(plane),
    "tan": one(inside) + points(plane),
    "asin": one(inside) + points(plane),
    "acos": one(inside) + points(plane),
    "atan": one(real) + points(plane),
    "sinh": one(real) + points(plane),
    "cosh": one(real) + points(plane),
    "tanh": one(real) + points(plane),
    "complex_tanh": points(plane),
    "asinh": one(real) + points(plane),
    "acosh": one(above) + points(plane) + [((-plane(3),), {})],
    "atanh": one(inside) + points(plane),
    "hypot": both(away),
    "atan2": both(away),
    "sinc": [((real(3, 4),), {"order": n}) for n in (0, 1, 2)]
    + [((5 * real(4),), {"order": 0}), ((np.zeros(2),), {"order": 0}), ((plane(3),), {"order": 0})],
    "unwrap": [((TURNS,), {"discont": None, "axis": -1, "period": 2 * math.pi})],
    # complex numbers
    "real": points(plane),
    "imag": points(plane),
    "conj": points(plane),
    "imag_of_real": one(real),
    "absolute": one(away) + points(plane),
    "fabs": one(away),
    "sign": one(real),
    "direction": points(plane),
    # comparison and selection
    "equal": both(real) + mixed(plane),
    "not_equal": both(real) + mixed(plane),
    "greater": both(real),
    "greater_equal": both(real),
    "less": both(real),
    "less_equal": both(real),
    "logical_and": both(real),
    "logical_or": both(real),
    "logical_xor": both(real),
    "logical_not": one(real),
    "isfinite": one(real) + points(plane),
    "isinf": one(real) + points(plane),
    "isnan": one(real) + points(plane),
    "signbit": one(real),
    "isclose": [((real(3, 4), real(4)), NEAR)],
    "where": [
        ((MASK, real(3, 4), real(3, 4)), {}),
        ((MASK, real(4), real(3, 1)), {}),
        ((MASK, plane(3, 4), real(4)), {}),
    ],
    "maximum": [((GRID, GRID[::-1] + 0.11), {}), ((apart(3, 1), apart(4) + 0.11), {})],
    "minimum": [((GRID, GRID[::-1] + 0.11), {}), ((apart(3, 1), apart(4) + 0.11), {})],
    "fmax": [((GRID, GRID[::-1] + 0.11), {}), ((apart(3, 1), apart(4) + 0.11), {})],
    "fmin": [((GRID, GRID[::-1] + 0.11), {}), ((apart(3, 1), apart(4) + 0.11), {})],
    "clip": [
        ((GRID, -0.2 * positive(4), positive(3, 1)), {}),
        ((GRID, None, positive(4)), {}),
        ((GRID, -positive(), None), {}),
        ((GRID, None, None), {}),
    ],
    "heaviside": both(away),
    # rounding
    "ceil": one(real),
    "floor": one(real),
    "trunc": one(real),
    "rint": one(real),
    "round": DECIMALS,
    "floor_divide": both(away),
    "remainder": [((np.array([5.3, -5.3, 5.3, -5.3]), np.array([2.0, 2.0, -2.0, -2.0])), {})],
    "fmod": [((np.array([5.3, -5.3, 5.3, -5.3]), np.array([2.0, 2.0, -2.0, -2.0])), {})],
    "fraction": one(above),
    "copysign": both(away),
    "nextafter": both(away),
    "ldexp": [((real(3, 4), integers(4)), {})],
    "exponent": one(away),
    "nan_to_num": [((real(3, 4),), LIMITS)],
    # bits
    "bitwise_and": both(integers),
    "bitwise_or": both(integers),
    "bitwise_xor": both(integers),
    "bitwise_invert": one(integers),
    "bitwise_left_shift": both(integers),
    "bitwise_right_shift": both(integers),
    "bitwise_count": one(integers),
    # activations
    "relu": one(apart),
    "sigmoid": one(real),
    "gelu": one(real),
    "gelu_slope": one(real),
}


def _each(function):
    """A function of Python numbers, applied to every element of broadcast arrays."""
    return lambda *args, **_: np.vectorize(function, otypes=[np.result_type(*args, float)])(*args)


def _c(function, complex_function):
    return _each(lambda z: complex_function(z) if isinstance(z, complex) else function(z))


REFERENCES = {
    "reciprocal": lambda x: x**-1.0,
    "square": lambda x: x * x,
    "masked_multiply": np.multiply,
    "zero_multiply": np.multiply,
    "masked_divide": np.divide,
    "exp": _c(math.exp, cmath.exp),
    "exp2": lambda x: np.exp(x * math.log(2)),
    "expm1": lambda x: np.exp(x) - 1,
    "log": _c(math.log, cmath.log),
    "log2": lambda x: np.log(x) / math.log(2),
    "log10": _c(math.log10, cmath.log10),
    "log1p": lambda x: np.log(1 + x),
    "sqrt": _c(math.sqrt, cmath.sqrt),
    "cbrt": lambda x: np.sign(x) * np.abs(x) ** (1 / 3),
    "logaddexp": lambda x, y: np.log(np.exp(x) + np.exp(y)),
    "logaddexp2": lambda x, y: np.log2(2.0**x + 2.0**y),
    "power": lambda x, y: np.exp(y * np.log(x)),
    "sin": _c(math.sin, cmath.sin),
    "cos": _c(math.cos, cmath.cos),
    "tan": _c(math.tan, cmath.tan),
    "asin": _c(math.asin, cmath.asin),
    "acos": _c(math.acos, cmath.acos),
    "atan": _c(math.atan, cmath.atan),
    "sinh": _c(math.sinh, cmath.sinh),
    "cosh": _c(math.cosh, cmath.cosh),
    "tanh": _c(math.tanh, cmath.tanh),
    "complex_tanh": _each(cmath.tanh),
    "asinh": _c(math.asinh, cmath.asinh),
    "acosh": _c(math.acosh, cmath.acosh),
    "atanh": _c(math.atanh, cmath.atanh),
    "hypot": lambda x, y: np.sqrt(x * x + y * y),
    "atan2": lambda y, x: np.angle(x + 1j * y),
    "absolute": lambda x: np.sqrt(np.real(x * np.conj(x))),
    "direction": lambda x: np.exp(1j * np.angle(x)),
    "clip": lambda x, low, high: np.minimum(
        np.maximum(x, -np.inf if low is None else low), np.inf if high is None else high
    ),
    "floor_divide": lambda x, y: np.floor(x / y),
    "remainder": lambda x, y: x - y * np.floor(x / y),
    "fmod": lambda x, y: x - y * np.trunc(x / y),
    "fraction": lambda x: x - np.trunc(x),
    "copysign": lambda x, y: np.abs(x) * np.sign(y),
    "ldexp": lambda x, n: x * 2.0**n,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
