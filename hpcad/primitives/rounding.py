"""Rounding and remainders, and the parts of a floating-point number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives.arithmetic import cast, divide, masked_multiply, multiply, negative
from hpcad.primitives.builders import binary, constant, is_complex, unary
from hpcad.primitives.comparison import isfinite, signbit, where
from hpcad.primitives.complex_numbers import compose, imag, real, sign
from hpcad.primitives.shapes import broadcast

# -- to whole numbers ---------------------------------------------------------------------------


def _whole(function: np.ufunc) -> Callable[[Any], Any]:
    """``function`` of floating-point numbers; integers are whole already and keep their dtype."""

    def value(x: Any) -> Any:
        discrete = getattr(x, "dtype", None) is not None and x.dtype.kind in "iub"
        return x.copy() if discrete else function(x)

    return value


# fmt: off
ceil  = constant("ceil",  _whole(np.ceil))
floor = constant("floor", _whole(np.floor))
trunc = constant("trunc", _whole(np.trunc))
rint  = constant("rint",  np.rint)
# fmt: on

round = Primitive("round", lambda x, *, decimals: np.round(x, decimals), broadcast, constant=True)


def _floor_divide(x: Any, y: Any) -> Any:
    """``floor(x / y)``: infinite, not NaN, for an infinite dividend."""
    infinite = np.isinf(x) | np.isinf(y)
    if not infinite.any():
        return np.floor_divide(x, y)
    with np.errstate(invalid="ignore"):
        quotient = np.floor_divide(x, y)
        return np.where(infinite, np.floor(np.divide(x, y)), quotient).astype(quotient.dtype)


floor_divide = constant("floor_divide", _floor_divide)

# -- what is left over --------------------------------------------------------------------------

# fmt: off
remainder = binary("remainder", np.remainder, lambda g, _z, _x, _y: g,
                   lambda g, _z, x, y: negative(masked_multiply(g, floor_divide(x, y))))
fmod      = binary("fmod",      np.fmod,      lambda g, _z, _x, _y: g,
                   lambda g, _z, x, y: negative(masked_multiply(g, trunc(divide(x, y)))))
fraction  = unary("fraction", lambda x: np.modf(x)[0], lambda g, _z, _x: g)
# fmt: on


def modf(x: Any) -> tuple[Any, Any]:
    """The fraction and the whole part, both with the sign of ``x``."""
    part, whole = fraction(x), trunc(x)
    return part, whole if whole.dtype == part.dtype else cast(whole, dtype=part.dtype)


# -- floating-point numbers ---------------------------------------------------------------------


def _copysign_x(g: Any, _z: Any, x: Any, y: Any) -> Any:
    """The slope of ``|x|``, with the sign of ``y``."""
    slope = sign(x)
    return multiply(g, where(signbit(y), negative(slope), slope))


copysign = binary("copysign", np.copysign, _copysign_x, None)
nextafter = binary("nextafter", np.nextafter, lambda g, _z, _x, _y: g, None)
ldexp = binary("ldexp", np.ldexp, lambda g, _z, _x, y: ldexp(g, y), None)
_exponent = constant("exponent", lambda x: np.frexp(x)[1])


def frexp(x: Any) -> tuple[Any, Any]:
    """Mantissa and exponent: ``x = mantissa 2^exponent`` with ``0.5 <= |mantissa| < 1``."""
    exponent = _exponent(x)
    return ldexp(x, -exponent), exponent


def _nan_to_num(x: Any, *, nan: float, posinf: float | None, neginf: float | None) -> Any:
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


_nan_to_num_primitive = Primitive(
    "nan_to_num",
    _nan_to_num,
    broadcast,
    [lambda g, _z, x, nan, posinf, neginf: where(isfinite(x), g, 0)],
    jvp="same",
)


def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """Numbers in the place of NaN and infinities; constant there."""
    if is_complex(x):
        return compose(*(nan_to_num(part(x), nan, posinf, neginf) for part in (real, imag)))
    return _nan_to_num_primitive(x, nan=nan, posinf=posinf, neginf=neginf)
