"""The gamma function and its relatives: logarithm, polygamma, beta, incomplete gamma functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.backend import backend_of
from hpcad.errors import DifferentiationError
from hpcad.primitives.arithmetic import add, masked_multiply, subtract
from hpcad.primitives.builders import binary, floating, is_complex, unary
from hpcad.primitives.exponential import exp
from hpcad.primitives.special import real_only, special, xlogy


def _refusal(name: str) -> Callable[..., Any]:
    """The rule of a first argument in which the derivative is not known."""

    def rule(_g: Any, _z: Any, _a: Any, _x: Any) -> Any:
        raise DifferentiationError(
            f"{name} has no derivative rule for its first argument, so it does not take a tensor "
            "that is being differentiated there; call .detach() on it to use it as a constant"
        )

    return rule


def _polygamma(n: Any, x: Any) -> Any:
    """``(-1)^(n+1) n! zeta(n+1, x)``, and digamma for n = 0."""
    x = real_only(floating(x), "polygamma")
    sign_of_n = 2.0 * np.remainder(n, 2) - 1.0
    s = np.where(np.equal(n, 0), 2.0, np.add(n, 1.0))  # zeta(1) is not needed, and infinite
    on_device = backend_of(x).on_device
    if on_device and isinstance(s, np.ndarray):  # host arrays do not mix with device arrays
        s = s.item()
    total = special("zeta")(s, np.where(x < 0, 1.0, x))
    if on_device or (x < 0).any():  # on a device, asking costs more than computing
        total = np.where(x < 0, _zeta_below(s, x, sign_of_n), total)
    found = sign_of_n * special("gamma")(s) * total
    return np.where(np.equal(n, 0), special("psi")(x), found).astype(x.dtype, copy=False)


def _zeta_below(s: Any, x: Any, sign_of_s: Any) -> Any:
    """``sum_k 1 / (x+k)^s`` for negative ``x``.

    The terms of positive base are one zeta function; those of negative base are a piece of
    another, which is the difference of two, up to the sign ``(-1)^s``.
    """
    zeta = special("zeta")
    size = np.abs(x)
    rest = size - np.floor(size)
    return zeta(s, 1.0 - rest) + sign_of_s * (zeta(s, rest) - zeta(s, size + 1.0))


def _trigamma(x: Any) -> Any:
    if is_complex(x):
        raise DifferentiationError(
            "digamma of complex numbers has no derivative rule (nor has gamma a second one): its "
            "slope, polygamma(1, x), is there for real numbers only; call .detach() on the "
            "argument to use its values as constants"
        )
    return polygamma(1, x)


def _ratio(x: Any, y: Any) -> Any:
    """The slope of ``log beta(x, y)`` in ``x``."""
    return subtract(digamma(x), digamma(add(x, y)))


# fmt: off
gamma   = unary("gamma",   special("gamma"),   lambda g, z, x: g * (z * digamma(x)))
gammaln = unary("gammaln", special("gammaln"), lambda g, _z, x: g * digamma(x))
digamma = unary("digamma", special("psi"),     lambda g, _z, x: g * _trigamma(x))
polygamma = binary("polygamma", _polygamma, _refusal("polygamma"),
                   lambda g, _z, n, x: g * polygamma(n + 1, x))
beta   = binary("beta",   special("beta"),
                lambda g, z, x, y: g * (z * _ratio(x, y)),
                lambda g, z, x, y: g * (z * _ratio(y, x)))
betaln = binary("betaln", special("betaln"), lambda g, _z, x, y: g * _ratio(x, y),
                                             lambda g, _z, x, y: g * _ratio(y, x))


def _gammainc_slope(a: Any, x: Any) -> Any:
    """``x^(a-1) exp(-x) / gamma(a)``."""
    return exp(subtract(subtract(xlogy(subtract(a, 1), x), x), gammaln(a)))


# The derivative in ``a`` is no elementary function.
gammainc  = binary("gammainc",  special("gammainc"),  _refusal("gammainc"),
                   lambda g, _z, a, x: masked_multiply(g, _gammainc_slope(a, x)))
gammaincc = binary("gammaincc", special("gammaincc"), _refusal("gammaincc"),
                   lambda g, _z, a, x: -masked_multiply(g, _gammainc_slope(a, x)))
# fmt: on
