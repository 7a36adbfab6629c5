"""Elementwise functions with options, or with two answers, and questions about arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import value_of
from hpcad.numpy.elementwise import (
    equal,
    floor_divide,
    imag,
    not_equal,
    power,
    rad2deg,
    remainder,
)
from hpcad.primitives import elementwise as e


def clip(
    x: Any, /, min: Any = None, max: Any = None, *, a_min: Any = None, a_max: Any = None
) -> Any:
    """Limit every element to the range from ``min`` to ``max``.

    Parameters
    ----------
    x : array
    min, max : array or number, optional
        No limit when left out. ``a_min`` and ``a_max`` are NumPy's other names for them.

    Returns
    -------
    array of the broadcast shape

    Notes
    -----
    Derivative: 1 in ``x`` inside the range and on its ends, else in the bound that was met.
    """
    return e.clip(x, a_min if min is None else min, a_max if max is None else max)


def round(x: Any, /, decimals: int = 0) -> Any:
    """The nearest number with so many decimals, ties to even. Not differentiated: a constant."""
    return e.round(x, decimals=decimals)


around = round


def float_power(x1: Any, x2: Any, /) -> Any:
    """``x1`` to the power ``x2`` in at least double precision; differentiable like ``power``."""
    if not hasattr(x1, "dtype"):
        x1 = np.asarray(x1)
    return power(e.cast(x1, dtype=np.result_type(x1.dtype, np.float64)), x2)


def divmod(x1: Any, x2: Any, /) -> tuple[Any, Any]:
    """``floor_divide(x1, x2)``, which is a constant, and ``remainder(x1, x2)``."""
    return floor_divide(x1, x2), remainder(x1, x2)


def modf(x: Any, /) -> tuple[Any, Any]:
    """Fraction (derivative: 1) and whole part (a constant), both with the sign of ``x``."""
    return e.modf(x)


def frexp(x: Any, /) -> tuple[Any, Any]:
    """Mantissa (derivative: ``2^-n``) and exponent ``n`` (a constant): ``x = mantissa 2^n``."""
    return e.frexp(x)


def angle(z: Any, /, deg: bool = False) -> Any:
    """Argument of a complex number in (-pi, pi], in degrees on request; differentiable but at 0."""
    turned = e.angle(z)
    return rad2deg(turned) if deg else turned


def nan_to_num(
    x: Any,
    /,
    copy: bool = True,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Any:
    """Numbers in the place of NaN and infinities (the largest finite ones by default).

    The derivative is 1 where the element was finite and 0 where it was replaced. The answer is
    always a new array.
    """
    return e.nan_to_num(x, nan, posinf, neginf)


def unwrap(
    p: Any,
    discont: float | None = None,
    axis: int = -1,
    *,
    period: float = 2 * math.pi,
) -> Any:
    """Add multiples of the period so that no step along ``axis`` is larger than half of it.

    Derivative: 1, because the multiples are locally constant.
    """
    return e.unwrap(p, discont=discont, axis=axis, period=period)


# -- questions ----------------------------------------------------------------------------------


def isclose(
    x1: Any, x2: Any, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether ``|x1 - x2| <= atol + rtol |x2|``, element by element; a constant."""
    return e.isclose(x1, x2, rtol=rtol, atol=atol, equal_nan=equal_nan)


def allclose(
    x1: Any, x2: Any, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close; see :func:`isclose`."""
    return bool(value_of(isclose(x1, x2, rtol, atol, equal_nan)).all())


def isposinf(x: Any, /) -> Any:
    """Whether plus infinity, element by element; a constant."""
    return equal(x, math.inf)


def isneginf(x: Any, /) -> Any:
    """Whether minus infinity, element by element; a constant."""
    return equal(x, -math.inf)


def isreal(x: Any, /) -> Any:
    """Whether the imaginary part is 0, element by element; a constant."""
    return equal(imag(x), 0)


def iscomplex(x: Any, /) -> Any:
    """Whether the imaginary part is not 0, element by element; a constant."""
    return not_equal(imag(x), 0)


def iscomplexobj(x: Any, /) -> bool:
    """Whether the dtype is complex."""
    return e.is_complex(x)


def isrealobj(x: Any, /) -> bool:
    """Whether the dtype is not complex."""
    return not e.is_complex(x)


# fmt: off
__all__: list[str] = [
    "allclose", "angle", "around", "clip", "divmod", "float_power", "frexp", "isclose",
    "iscomplex", "iscomplexobj", "isneginf", "isposinf", "isreal", "isrealobj", "modf",
    "nan_to_num", "round", "unwrap",
]
# fmt: on
