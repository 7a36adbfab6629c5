"""Special functions, under their names in ``scipy.special``; all differentiable.

Values come from SciPy, on a GPU from CuPy's copy of it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import CONSTANT, Tensor, value_of
from hpcad.errors import DifferentiationError
from hpcad.numpy.tables import of_one, of_two
from hpcad.primitives import elementwise as e
from hpcad.primitives import gamma as gamma_
from hpcad.primitives import layout, reduction, shapes
from hpcad.primitives import softmax as rows
from hpcad.primitives import special as s

# fmt: off

# -- error functions and the normal distribution ------------------------------------------------

erf      = of_one("erf",      s.erf,      "Error function", "``2 / sqrt(pi) exp(-x^2)``")
erfc     = of_one("erfc",     s.erfc,     "``1 - erf(x)`` without cancellation",
                  "``-2 / sqrt(pi) exp(-x^2)``")
erfcx    = of_one("erfcx",    s.erfcx,    "``exp(x^2) erfc(x)``", "``2 x erfcx(x) - 2 / sqrt(pi)``")
erfinv   = of_one("erfinv",   s.erfinv,   "Inverse of erf", "``sqrt(pi) / 2 exp(erfinv(x)^2)``")
erfcinv  = of_one("erfcinv",  s.erfcinv,  "Inverse of erfc", "``-sqrt(pi) / 2 exp(erfcinv(x)^2)``")
ndtr     = of_one("ndtr",     s.ndtr,     "Distribution function of the standard normal",
                  "its density")
log_ndtr = of_one("log_ndtr", s.log_ndtr, "Logarithm of ndtr", "density over distribution")
ndtri    = of_one("ndtri",    s.ndtri,    "Inverse of ndtr", "1 over the density there")

# -- gamma and beta -----------------------------------------------------------------------------

gamma    = of_one("gamma",    gamma_.gamma,    "Gamma function", "``gamma(x) digamma(x)``")
gammaln  = of_one("gammaln",  gamma_.gammaln,  "Logarithm of ``|gamma(x)|``", "``digamma(x)``")
digamma  = of_one("digamma",  gamma_.digamma,  "Slope of ``log gamma(x)``", "``polygamma(1, x)``")
beta     = of_two("beta",     gamma_.beta,     "``gamma(x1) gamma(x2) / gamma(x1 + x2)``",
                  "``beta (digamma(xi) - digamma(x1 + x2))``")
betaln   = of_two("betaln",   gamma_.betaln,   "Logarithm of ``|beta(x1, x2)|``",
                  "``digamma(xi) - digamma(x1 + x2)``")
lgamma, psi = gammaln, digamma

# -- logistic -----------------------------------------------------------------------------------

expit     = of_one("expit",     s.expit,     "``1 / (1 + exp(-x))``", "``expit(x) expit(-x)``")
logit     = of_one("logit",     s.logit,     "``log(x / (1 - x))``", "``1 / (x (1 - x))``")
log_expit = of_one("log_expit", s.log_expit, "Logarithm of expit", "``expit(-x)``")
softplus  = of_one("softplus",  s.softplus,  "``log(1 + exp(x))``", "``expit(x)``")
log_sigmoid = log_expit

# -- entropies ----------------------------------------------------------------------------------

xlogy    = of_two("xlogy",    s.xlogy,    "``x1 log(x2)``, and 0 where ``x1 = 0``",
                  "``log(x2)`` and ``x1 / x2``")
xlog1py  = of_two("xlog1py",  s.xlog1py,  "``x1 log(1 + x2)``, and 0 where ``x1 = 0``",
                  "``log(1 + x2)`` and ``x1 / (1 + x2)``")
entr     = of_one("entr",     s.entr,     "``-x log(x)``", "``-log(x) - 1``")
rel_entr = of_two("rel_entr", s.rel_entr, "``x1 log(x1 / x2)``",
                  "``log(x1 / x2) + 1`` and ``-x1 / x2``")
kl_div   = of_two("kl_div",   s.kl_div,   "``x1 log(x1 / x2) - x1 + x2``",
                  "``log(x1 / x2)`` and ``1 - x1 / x2``")

# -- Bessel functions ---------------------------------------------------------------------------

j0  = of_one("j0",  lambda x: s.jv(x, order=0),  "Bessel function of order 0", "``-j1(x)``")
j1  = of_one("j1",  lambda x: s.jv(x, order=1),  "Bessel function of order 1",
             "``(j0(x) - jv(2, x)) / 2``")
i0  = of_one("i0",  lambda x: s.iv(x, order=0),  "Modified Bessel function of order 0", "``i1(x)``")
i1  = of_one("i1",  lambda x: s.iv(x, order=1),  "Modified Bessel function of order 1",
             "``(i0(x) + iv(2, x)) / 2``")
i0e = of_one("i0e", lambda x: s.ive(x, order=0), "``exp(-|x|) i0(x)``",
             "``i1e(x) - sign(x) i0e(x)``")
i1e = of_one("i1e", lambda x: s.ive(x, order=1), "``exp(-|x|) i1(x)``",
             "``(i0e(x) + ive(2, x)) / 2 - sign(x) i1e(x)``")
# fmt: on


def jv(n: int, x: Any, /) -> Any:
    """Bessel function of integer order ``n``. Derivative: ``(jv(n-1, x) - jv(n+1, x)) / 2``."""
    return s.jv(x, order=int(n))


def iv(n: int, x: Any, /) -> Any:
    """Modified Bessel function of integer order. Derivative: ``(iv(n-1, x) + iv(n+1, x)) / 2``."""
    return s.iv(x, order=int(n))


def polygamma(n: Any, x: Any, /) -> Any:
    """The ``n``-th derivative of :func:`digamma`, also at negative ``x``.

    Parameters
    ----------
    n : integer or array of integers
        Not negative; a tracked one is refused.
    x : array
        Real.

    Returns
    -------
    array of the broadcast shape

    Notes
    -----
    Derivative: ``polygamma(n + 1, x)``.
    """
    return gamma_.polygamma(_constant(n, "polygamma"), x)


def gammainc(a: Any, x: Any, /) -> Any:
    """Regularised lower incomplete gamma function ``P(a, x)``.

    Derivative in ``x``: ``x^(a-1) exp(-x) / gamma(a)``. In ``a`` it has none here: a tracked one is
    refused.
    """
    return gamma_.gammainc(_constant(a, "gammainc"), x)


def gammaincc(a: Any, x: Any, /) -> Any:
    """Regularised upper incomplete gamma function, ``1 - P(a, x)``; see :func:`gammainc`."""
    return gamma_.gammaincc(_constant(a, "gammaincc"), x)


def _constant(a: Any, name: str) -> Any:
    if isinstance(a, Tensor) and a.level > CONSTANT:
        raise DifferentiationError(
            f"{name} has no derivative rule for its first argument, so that one must not be "
            "differentiated; call .detach() on it to use its values as constants"
        )
    return a


def huber(delta: Any, r: Any, /) -> Any:
    """Huber loss: ``r^2 / 2`` up to ``|r| = delta``, and on from there along the tangent.

    Derivative in ``r``: ``r`` limited to the range from ``-delta`` to ``delta``.
    """
    size = e.absolute(r)
    far = e.multiply(delta, e.subtract(size, e.multiply(delta, 0.5)))
    return e.where(e.less_equal(size, delta), e.multiply(e.square(r), 0.5), far)


def pseudo_huber(delta: Any, r: Any, /) -> Any:
    """A smooth Huber loss, ``delta^2 (sqrt(1 + (r / delta)^2) - 1)``, without cancellation."""
    stretch = e.multiply(e.log1p(e.square(e.divide(r, delta))), 0.5)
    return e.multiply(e.square(delta), e.expm1(stretch))


# -- sums of exponentials over axes -------------------------------------------------------------


def _as_rows(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """``x`` with the axes that are summed over moved to the end and made one; the permutation."""
    shape = np.shape(x)
    summed = shapes.axes_of(axis, len(shape))
    order = (*(a for a in range(len(shape)) if a not in summed), *summed)
    kept = tuple(shape[a] for a in order[: len(order) - len(summed)])
    length = math.prod(shape[a] for a in summed)
    if order != tuple(range(len(shape))):
        x = layout.transpose(x, order)
    return layout.reshape(x, (*kept, length)), order


def _restored(rows_of_x: Any, shape: tuple[int, ...], order: tuple[int, ...]) -> Any:
    """Undo :func:`_as_rows`."""
    moved = layout.reshape(rows_of_x, tuple(shape[a] for a in order))
    return layout.transpose(moved, tuple(int(i) for i in np.argsort(order)))


def softmax(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """``exp(x) / sum exp(x)`` over ``axis`` (all axes by default).

    Returns
    -------
    array, shape of x

    Notes
    -----
    Derivative along ``t``: ``y (t - sum(y t))``.
    """
    flat, order = _as_rows(e.floating(x), axis)
    return _restored(rows.softmax(flat), np.shape(x), order)


def log_softmax(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """``x - logsumexp(x)`` over ``axis`` (all axes by default)."""
    return e.subtract(x, logsumexp(x, axis, keepdims=True))


def logsumexp(
    a: Any, axis: int | tuple[int, ...] | None = None, b: Any = None, keepdims: bool = False
) -> Any:
    """``log sum(b exp(a))`` over ``axis`` without overflow.

    Parameters
    ----------
    a : array
    axis : int or tuple of int, optional
        All axes when left out.
    b : array, optional
        Weights that broadcast to ``a``; 1 when left out. NaN where the weighted sum is negative.
    keepdims : bool
        Keep the axes that were summed over, with length 1.

    Returns
    -------
    array
        -inf where there is nothing to sum.

    Notes
    -----
    Derivative: ``softmax(a)``, and with weights ``b exp(a - z)`` and ``exp(a - z)``.
    """
    shape = np.shape(a)
    if b is None:
        flat, _ = _as_rows(e.floating(a), axis)
        total = rows.logsumexp(flat)
        wanted = shapes.reduced(shape, axis=axis, keepdims=keepdims)
        return total if np.shape(total) == wanted else layout.reshape(total, wanted)
    top = _finite_top(value_of(a), axis)
    weighted = e.multiply(b, e.exp(e.subtract(a, top)))
    total = e.log(reduction.sum(weighted, axis, keepdims))
    return e.add(total, top if keepdims else top.reshape(np.shape(total)))


def _finite_top(a: Any, axis: Any) -> Any:
    """The largest element, as a constant; 0 in the place of infinities."""
    top = reduction.highest(a, axis, -np.inf, keepdims=True)
    return np.where(np.isfinite(top), top, 0.0).astype(top.dtype)


# fmt: off
__all__: list[str] = [
    "beta", "betaln", "digamma", "entr", "erf", "erfc", "erfcinv", "erfcx", "erfinv", "expit",
    "gamma", "gammainc", "gammaincc", "gammaln", "huber", "i0", "i0e", "i1", "i1e", "iv", "j0",
    "j1", "jv", "kl_div", "lgamma", "log_expit", "log_ndtr", "log_sigmoid", "log_softmax",
    "logit", "logsumexp", "ndtr", "ndtri", "polygamma", "pseudo_huber", "psi", "rel_entr",
    "softmax", "softplus", "xlog1py", "xlogy",
]
# fmt: on
