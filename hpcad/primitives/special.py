"""Special functions: error, logistic and Bessel functions, entropies (and see ``gamma.py``).

Values come from SciPy on the host and from CuPy's copy of it on the device. Families that are
closed under differentiation (polygamma, Bessel) have the order as a parameter, so derivatives of
any order exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import is_device_array, scipy_of
from hpcad.errors import ConfigError
from hpcad.primitives.arithmetic import (
    add,
    divide,
    masked_divide,
    masked_multiply,
    multiply,
    negative,
    square,
    subtract,
)
from hpcad.primitives.builders import binary, floating, is_complex, unary
from hpcad.primitives.complex_numbers import sign
from hpcad.primitives.exponential import exp, log
from hpcad.primitives.precision import in_single
from hpcad.primitives.shapes import broadcast

_NUMBERS = (int, float, complex)


def special(name: str) -> Callable[..., Any]:
    """The function of that name in the library that fits the arrays, in their precision."""

    def value(*args: Any) -> Any:
        args = tuple([x if isinstance(x, _NUMBERS) else _array(x) for x in args])
        library = scipy_of(next(filter(is_device_array, args), None), "special")
        if not hasattr(library, name):
            raise ConfigError(f"{library.__name__} has no {name}; compute it with device='cpu'")
        try:
            answer = getattr(library, name)(*args)
        except TypeError as error:
            if library.__name__.startswith("scipy") or not any(map(is_complex, args)):
                raise
            raise ConfigError(
                f"{library.__name__} has no {name} of complex numbers; compute it with device='cpu'"
            ) from error
        wanted = np.result_type(*args)  # float16, and complex64 with float32, come back doubled
        return answer.astype(wanted) if wanted.kind in "fc" and answer.dtype != wanted else answer

    value.__name__ = name
    return in_single(value)


def _array(x: Any) -> Any:
    return x if hasattr(x, "dtype") else np.asarray(x)


def real_only(x: Any, name: str) -> Any:
    """``x``, if it is real."""
    if is_complex(x):
        raise TypeError(
            f"{name} takes real numbers, not complex ones; take real(x) or abs(x) first"
        )
    return x


# -- error functions ----------------------------------------------------------------------------

_BELL = 2.0 / math.sqrt(math.pi)
_NORMAL = 1.0 / math.sqrt(2.0 * math.pi)
_HALF = math.sqrt(0.5)


# exp(-x^2), with a slope that a mask can cut off where x is infinite
gaussian = unary(
    "gaussian",
    lambda x: np.exp(-np.square(x)),
    lambda g, z, x: masked_multiply(g, x * z * (-2)),
)


def _bell(x: Any) -> Any:
    """``2 / sqrt(pi) exp(-x^2)``."""
    return multiply(gaussian(x), _BELL)


def _normal(x: Any) -> Any:
    """The density of the standard normal distribution."""
    return multiply(gaussian(multiply(x, _HALF)), _NORMAL)


def _log_ndtr_slope(x: Any, z: Any) -> Any:
    """``density / distribution``, from their logarithms: both may underflow."""
    return multiply(exp(subtract(multiply(square(x), -0.5), z)), _NORMAL)


# fmt: off
erf      = unary("erf",      special("erf"),      lambda g, _z, x: g * _bell(x))
erfc     = unary("erfc",     special("erfc"),     lambda g, _z, x: -g * _bell(x))
erfcx    = unary("erfcx",    special("erfcx"),    lambda g, z, x: g * (x * z * 2 - _BELL))
erfinv   = unary("erfinv",   special("erfinv"),   lambda g, z, _x: masked_divide(g, _bell(z)))
erfcinv  = unary("erfcinv",  special("erfcinv"),  lambda g, z, _x: -masked_divide(g, _bell(z)))
ndtr     = unary("ndtr",     special("ndtr"),     lambda g, _z, x: g * _normal(x))
log_ndtr = unary("log_ndtr", special("log_ndtr"), lambda g, z, x: g * _log_ndtr_slope(x, z))
ndtri    = unary("ndtri",    special("ndtri"),    lambda g, z, _x: masked_divide(g, _normal(z)))
# fmt: on

# -- logistic functions -------------------------------------------------------------------------


def _softplus(x: Any) -> Any:
    """``log(1 + exp(x))`` without overflow."""
    x = real_only(floating(x), "softplus")
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# fmt: off
expit     = unary("expit",     special("expit"),     lambda g, z, _x: g * (z * (1 - z)))
logit     = unary("logit",     special("logit"),     lambda g, _z, x: masked_divide(g, x * (1 - x)))
log_expit = unary("log_expit", special("log_expit"), lambda g, _z, x: g * expit(-x))
softplus  = unary("softplus",  _softplus,            lambda g, _z, x: g * expit(x))

# -- entropies ----------------------------------------------------------------------------------

xlogy    = binary("xlogy",    special("xlogy"),
                  lambda g, _z, _x, y: masked_multiply(g, log(y)),
                  lambda g, _z, x, y: masked_multiply(g, masked_divide(x, y)))
xlog1py  = binary("xlog1py",  special("xlog1py"),
                  lambda g, _z, _x, y: masked_multiply(g, log(y + 1)),
                  lambda g, _z, x, y: masked_multiply(g, masked_divide(x, y + 1)))
entr     = unary("entr",      special("entr"),
                 lambda g, _z, x: -masked_multiply(g, log(x) + 1))
rel_entr = binary("rel_entr", special("rel_entr"),
                  lambda g, _z, x, y: masked_multiply(g, log(divide(x, y)) + 1),
                  lambda g, _z, x, y: -masked_multiply(g, masked_divide(x, y)))
kl_div   = binary("kl_div",   special("kl_div"),
                  lambda g, _z, x, y: masked_multiply(g, log(divide(x, y))),
                  lambda g, _z, x, y: masked_multiply(g, 1 - masked_divide(x, y)))
# fmt: on

# -- Bessel functions of integer order ----------------------------------------------------------


def _of_order(family: str, named: dict[int, str]) -> Callable[..., Any]:
    """The function of the family, by its own name where the order has one: that one is faster."""

    def value(x: Any, *, order: int) -> Any:
        x = floating(x)
        if order in named:
            return special(named[order])(x)
        return special(family)(order, x)

    return value


def _bessel(name: str, named: dict[int, str], rule: Any) -> Primitive:
    return Primitive(name, _of_order(name, named), broadcast, [rule], jvp="same")


def _neighbours(function: Any, x: Any, order: int) -> tuple[Any, Any]:
    return function(x, order=order - 1), function(x, order=order + 1)


def _jv_rule(g: Any, _z: Any, x: Any, order: int) -> Any:
    """``J_n' = (J_(n-1) - J_(n+1)) / 2``."""
    if order == 0:
        return negative(multiply(g, jv(x, order=1)))
    return multiply(g, multiply(subtract(*_neighbours(jv, x, order)), 0.5))


def _iv_rule(g: Any, _z: Any, x: Any, order: int) -> Any:
    """``I_n' = (I_(n-1) + I_(n+1)) / 2``."""
    if order == 0:
        return multiply(g, iv(x, order=1))
    return multiply(g, multiply(add(*_neighbours(iv, x, order)), 0.5))


def _ive_rule(g: Any, z: Any, x: Any, order: int) -> Any:
    """The same, scaled by ``exp(-|x|)``, whose own slope comes in addition."""
    if order == 0:
        slope = ive(x, order=1)
    else:
        slope = multiply(add(*_neighbours(ive, x, order)), 0.5)
    return multiply(g, subtract(slope, multiply(sign(x), z)))


jv = _bessel("jv", {0: "j0", 1: "j1"}, _jv_rule)
iv = _bessel("iv", {0: "i0", 1: "i1"}, _iv_rule)
ive = _bessel("ive", {0: "i0e", 1: "i1e"}, _ive_rule)
