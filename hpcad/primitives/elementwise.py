"""Elementwise primitives. In the rules: g the cotangent, z the answer, x and y the arguments.

An underscore marks what a rule does not need, and what is therefore not kept for it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives.shapes import broadcast


def _unary(name: str, value: Any, rule: Any, jvp: Any = "same") -> Primitive:
    return Primitive(name, value, broadcast, [rule], jvp=jvp if isinstance(jvp, str) else [jvp])


def _binary(name: str, value: Any, rule_x: Any, rule_y: Any) -> Primitive:
    return Primitive(name, value, broadcast, [rule_x, rule_y], jvp="same")


def _constant(name: str, value: Any) -> Primitive:
    return Primitive(name, value, broadcast, constant=True)


# fmt: off
add      = _binary("add",      np.add,      lambda g, _z, _x, _y: g,
                                            lambda g, _z, _x, _y: g)
subtract = _binary("subtract", np.subtract, lambda g, _z, _x, _y: g,
                                            lambda g, _z, _x, _y: negative(g))
multiply = _binary("multiply", np.multiply, lambda g, _z, _x, y: multiply(g, y),
                                            lambda g, _z, x, _y: multiply(g, x))
divide   = _binary("divide",   np.divide,   lambda g, _z, _x, y: divide(g, y),
                                            lambda g, z, _x, y: negative(divide(multiply(g, z), y)))

negative = _unary("negative", np.negative, lambda g, _z, _x: negative(g))
exp      = _unary("exp",      np.exp,      lambda g, z, _x: multiply(g, z))
expm1    = _unary("expm1",    np.expm1,    lambda g, z, _x: multiply(g, add(z, 1)))
log      = _unary("log",      np.log,      lambda g, _z, x: divide(g, x))
log1p    = _unary("log1p",    np.log1p,    lambda g, _z, x: divide(g, add(x, 1)))
sqrt     = _unary("sqrt",     np.sqrt,     lambda g, z, _x: divide(g, multiply(z, 2)))
square   = _unary("square",   np.square,   lambda g, _z, x: multiply(g, multiply(x, 2)))
sin      = _unary("sin",      np.sin,      lambda g, _z, x: multiply(g, cos(x)))
cos      = _unary("cos",      np.cos,      lambda g, _z, x: negative(multiply(g, sin(x))))
tanh     = _unary("tanh",     np.tanh,     lambda g, z, _x: multiply(g, subtract(1, square(z))))
absolute = _unary("absolute", np.absolute, lambda g, _z, x: multiply(g, sign(x)))
sign     = _constant("sign",  np.sign)

equal         = _constant("equal",         np.equal)
not_equal     = _constant("not_equal",     np.not_equal)
greater       = _constant("greater",       np.greater)
greater_equal = _constant("greater_equal", np.greater_equal)
less          = _constant("less",          np.less)
less_equal    = _constant("less_equal",    np.less_equal)
# fmt: on


def _power_x(g: Any, _z: Any, x: Any, y: Any) -> Any:
    """``y x^(y-1)``; where y = 0 that is 0, also at x = 0."""
    if isinstance(y, int | float) and y != 0:
        return multiply(g, multiply(y, power(x, y - 1)))
    slope = multiply(y, power(x, where(equal(y, 0), 1, subtract(y, 1))))
    return multiply(g, slope)


def _power_y(g: Any, z: Any, x: Any, _y: Any) -> Any:
    """``x^y log x``; 0 at x = 0, where x^y is 0 or constant in y."""
    return multiply(g, multiply(z, log(where(equal(x, 0), 1, x))))


power = Primitive("power", np.power, broadcast, [_power_x, _power_y], jvp="same")

where = Primitive(
    "where",
    np.where,
    broadcast,
    [
        None,
        lambda g, _z, c, _x, _y: where(c, g, 0),
        lambda g, _z, c, _x, _y: where(c, 0, g),
    ],
    jvp="same",
)


def _share(x: Any, y: Any, z: Any, g: Any) -> Any:
    """The part of ``g`` that goes to ``x`` where ``z`` is max or min of x and y; ties halved."""
    one = g.dtype.type(1)  # a Python number in np.where would make the mask float64
    return multiply(g, where(equal(x, z), where(equal(y, z), one / 2, one), 0 * one))


maximum = Primitive(
    "maximum",
    np.maximum,
    broadcast,
    [lambda g, z, x, y: _share(x, y, z, g), lambda g, z, x, y: _share(y, x, z, g)],
    jvp="same",
)
minimum = Primitive(
    "minimum",
    np.minimum,
    broadcast,
    [lambda g, z, x, y: _share(x, y, z, g), lambda g, z, x, y: _share(y, x, z, g)],
    jvp="same",
)


def _cast(x: Any, *, dtype: Any) -> Any:
    if x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        x = x.real
    return x.astype(dtype)


cast = Primitive(
    "cast",
    _cast,
    broadcast,
    [lambda g, _z, _x, dtype: g],  # the tape casts the cotangent back
    jvp="linear",
)


def floating(x: Any) -> Any:
    """``x`` as an array of floating point (integers and booleans become float64)."""
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


# -- activations --------------------------------------------------------------------------


def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


def _sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))`` through tanh, which does not overflow."""
    x = floating(x)
    half = x.dtype.type(0.5)
    return half * np.tanh(half * x) + half


relu = Primitive(
    "relu", _relu, broadcast, [lambda g, z, _x: multiply(g, greater(z, 0))], jvp="same"
)
sigmoid = _unary("sigmoid", _sigmoid, lambda g, z, _x: multiply(g, multiply(z, subtract(1, z))))

_GELU_SCALE = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715


def _gelu_tanh(x: Any) -> Any:
    """``tanh(sqrt(2/pi) (x + 0.044715 x^3))`` with two temporaries."""
    kind = x.dtype.type
    inner = x * x
    inner *= kind(_GELU_SCALE * _GELU_CUBIC)
    inner += kind(_GELU_SCALE)
    inner *= x
    return np.tanh(inner, out=inner) if hasattr(inner, "__setitem__") else np.tanh(inner)


def _gelu(x: Any) -> tuple[Any, Any]:
    """Tanh form of ``x Phi(x)`` (Hendrycks and Gimpel, arXiv:1606.08415), and its tanh."""
    x = floating(x)
    t = _gelu_tanh(x)
    y = t + 1
    y *= x
    y *= x.dtype.type(0.5)
    return y, t


def _gelu_slope(x: Any, t: Any = None) -> Any:
    """d gelu / dx = (1 + t) / 2 + x (1 - t^2) u' / 2, with t = tanh(u)."""
    kind = x.dtype.type
    t = _gelu_tanh(x) if t is None else t
    slope = x * x
    slope *= kind(3 * _GELU_SCALE * _GELU_CUBIC)
    slope += kind(_GELU_SCALE)
    slope *= x
    slope *= 1 - t * t
    slope += t
    slope += 1
    slope *= kind(0.5)
    return slope


def _gelu_curvature(x: Any) -> Any:
    """d^2 gelu / dx^2 by primitives: (1 - t^2) (u' + x (u'' / 2 - t u'^2))."""
    cubed = multiply(_GELU_SCALE * _GELU_CUBIC, multiply(square(x), x))
    t = tanh(add(multiply(_GELU_SCALE, x), cubed))
    first = add(_GELU_SCALE, multiply(3 * _GELU_SCALE * _GELU_CUBIC, square(x)))
    second = multiply(6 * _GELU_SCALE * _GELU_CUBIC, x)
    bend = subtract(multiply(0.5, second), multiply(t, square(first)))
    return multiply(subtract(1, square(t)), add(first, multiply(x, bend)))


def _gelu_vjp(_needs: Any, g: Any, _z: Any, saved: Any, x: Any) -> list[Any]:
    return [multiply(g, gelu_slope(x) if saved is None else _gelu_slope(x, saved))]


def _gelu_jvp(ts: Any, _z: Any, saved: Any, x: Any) -> Any:
    return multiply(ts[0], gelu_slope(x) if saved is None else _gelu_slope(x, saved))


gelu = Primitive("gelu", _gelu, broadcast, joint=_gelu_vjp, joint_jvp=_gelu_jvp, saves=True)
gelu_slope = _unary("gelu_slope", _gelu_slope, lambda g, _z, x: multiply(g, _gelu_curvature(x)))
