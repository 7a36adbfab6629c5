"""Activation functions of networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives.arithmetic import add, multiply, square, subtract
from hpcad.primitives.builders import floating, unary
from hpcad.primitives.comparison import greater
from hpcad.primitives.precision import in_single, widened
from hpcad.primitives.shapes import broadcast
from hpcad.primitives.trigonometric import tanh


def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


def _sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))`` through tanh, which does not overflow."""
    x = floating(x)
    half = x.dtype.type(0.5)
    return half * np.tanh(half * x) + half


relu = Primitive("relu", _relu, broadcast, [lambda g, z, _x: g * greater(z, 0)], jvp="same")
sigmoid = unary("sigmoid", in_single(_sigmoid), lambda g, z, _x: g * (z * (1 - z)))

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


def _slope_from(x: Any, t: Any) -> Any:
    """The slope of an ``x`` whose tanh was saved: in float32, where ``x`` is in half precision."""
    return _gelu_slope(widened(x), t).astype(x.dtype, copy=False)


def _gelu_vjp(_needs: Any, g: Any, _z: Any, saved: Any, x: Any) -> list[Any]:
    return [multiply(g, gelu_slope(x) if saved is None else _slope_from(x, saved))]


def _gelu_jvp(ts: Any, _z: Any, saved: Any, x: Any) -> Any:
    return multiply(ts[0], gelu_slope(x) if saved is None else _slope_from(x, saved))


gelu = Primitive(
    "gelu", in_single(_gelu), broadcast, joint=_gelu_vjp, joint_jvp=_gelu_jvp, saves=True
)
gelu_slope = unary("gelu_slope", in_single(_gelu_slope), lambda g, _z, x: g * _gelu_curvature(x))
