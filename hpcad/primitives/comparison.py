"""Comparison, selection and logic: what is smaller, larger, between, finite, true."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives.arithmetic import multiply
from hpcad.primitives.builders import binary, constant
from hpcad.primitives.precision import as_bfloat16, in_single
from hpcad.primitives.shapes import broadcast

# fmt: off
equal         = constant("equal",         np.equal)
not_equal     = constant("not_equal",     np.not_equal)
greater       = constant("greater",       np.greater)
greater_equal = constant("greater_equal", np.greater_equal)
less          = constant("less",          np.less)
less_equal    = constant("less_equal",    np.less_equal)

logical_and   = constant("logical_and",   np.logical_and)
logical_or    = constant("logical_or",    np.logical_or)
logical_xor   = constant("logical_xor",   np.logical_xor)
logical_not   = constant("logical_not",   np.logical_not)

isfinite      = constant("isfinite",      np.isfinite)
isinf         = constant("isinf",         np.isinf)
isnan         = constant("isnan",         np.isnan)
signbit       = constant("signbit",       np.signbit)
# fmt: on

isclose = Primitive(
    "isclose",
    lambda x, y, *, rtol, atol, equal_nan: np.isclose(x, y, rtol, atol, equal_nan),
    broadcast,
    constant=True,
)


def _where(condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition, as_bfloat16(x, y), as_bfloat16(y, x))


where = Primitive(
    "where",
    _where,
    broadcast,
    [
        None,
        lambda g, _z, c, _x, _y: where(c, g, 0),
        lambda g, _z, c, _x, _y: where(c, 0, g),
    ],
    jvp="same",
)

# -- the larger and the smaller of two ----------------------------------------------------------


def _won(g: Any, wins: Any, x: Any, y: Any) -> Any:
    """The part of ``g`` that goes to the one that won; ties are halved."""
    return where(equal(x, y), multiply(g, 0.5), where(wins, g, 0))


def _or_alone(wins: Any, y: Any) -> Any:
    """``wins``, also against NaN."""
    return logical_or(wins, isnan(y))


# fmt: off
maximum = binary("maximum", np.maximum, lambda g, _z, x, y: _won(g, greater(x, y), x, y),
                                        lambda g, _z, x, y: _won(g, greater(y, x), x, y))
minimum = binary("minimum", np.minimum, lambda g, _z, x, y: _won(g, less(x, y), x, y),
                                        lambda g, _z, x, y: _won(g, less(y, x), x, y))
fmax = binary("fmax", np.fmax, lambda g, _z, x, y: _won(g, _or_alone(greater(x, y), y), x, y),
                               lambda g, _z, x, y: _won(g, _or_alone(greater(y, x), x), x, y))
fmin = binary("fmin", np.fmin, lambda g, _z, x, y: _won(g, _or_alone(less(x, y), y), x, y),
                               lambda g, _z, x, y: _won(g, _or_alone(less(y, x), x), x, y))
# fmt: on

# -- clip ---------------------------------------------------------------------------------------


def _clip(x: Any, low: Any, high: Any) -> Any:
    """``minimum(maximum(x, low), high)``, in the dtype of ``x`` where the bounds are numbers."""
    return np.positive(x) if low is None and high is None else np.clip(x, low, high)


def _clip_x(g: Any, _z: Any, x: Any, low: Any, high: Any) -> Any:
    """1 between the bounds and on them."""
    if low is not None:
        g = where(greater_equal(x, low), g, 0)
    return g if high is None else where(less_equal(x, high), g, 0)


def _clip_low(g: Any, _z: Any, x: Any, low: Any, high: Any) -> Any:
    g = where(less(x, low), g, 0)
    return g if high is None else where(less_equal(low, high), g, 0)


def _clip_high(g: Any, _z: Any, x: Any, low: Any, high: Any) -> Any:
    above = greater(x, high)
    return where(above if low is None else logical_or(above, greater(low, high)), g, 0)


clip = Primitive(
    "clip",
    in_single(_clip),
    lambda *shapes: np.broadcast_shapes(*(shape for shape in shapes if shape is not None)),
    [_clip_x, _clip_low, _clip_high],
    jvp="same",
)

# -- the step -----------------------------------------------------------------------------------

heaviside = binary("heaviside", np.heaviside, None, lambda g, _z, x, _y: where(equal(x, 0), g, 0))
