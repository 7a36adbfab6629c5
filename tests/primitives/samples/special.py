"""Samples of the special functions, at points where they are smooth."""

from __future__ import annotations

import math

import numpy as np
import scipy.special

rng = np.random.default_rng(23)


def real(*shape):
    return rng.standard_normal(shape)


def positive(*shape):
    return rng.uniform(0.5, 2.0, shape)


def inside(*shape):
    return rng.uniform(-0.8, 0.8, shape)


def probability(*shape):
    return rng.uniform(0.1, 0.9, shape)


def one(make):
    return [((make(3, 4),), {}), ((make(),), {}), ((make(2, 0),), {})]


def both(make):
    return [((make(3, 4), make(3, 4)), {}), ((make(3, 1), make(2, 1, 4)), {})]


def of_orders(make, *orders):
    return [((make(3, 2),), {"order": n}) for n in orders]


ORDERS = np.array([[0], [1], [2]])
FAR = np.array([-3.3, -12.5, 4.0])
PLANE = np.array([0.5 + 0.7j, -0.3 - 1.1j])

SAMPLES = {
    "gaussian": [*one(real), ((PLANE,), {})],
    "erf": [*one(real), ((PLANE,), {})],
    "erfc": [*one(real), ((PLANE,), {})],
    "erfcx": [*one(real), ((PLANE,), {})],
    "erfinv": one(inside),
    "erfcinv": one(probability),
    "ndtr": [*one(real), ((PLANE,), {})],
    "log_ndtr": [*one(real), ((FAR,), {}), ((PLANE,), {})],
    "ndtri": one(probability),
    "gamma": [*one(positive), ((np.array([-0.4, -1.7]),), {})],
    "gammaln": [*one(positive), ((np.array([-0.4, -1.7]),), {})],
    "digamma": [*one(positive), ((np.array([-0.4, -1.7]),), {})],
    "polygamma": [((ORDERS, positive(4)), {}), ((np.array(1), np.array([-0.4, -1.7])), {})],
    "beta": both(positive),
    "betaln": both(positive),
    "gammainc": both(positive),
    "gammaincc": both(positive),
    "expit": one(real),
    "logit": one(probability),
    "log_expit": one(real),
    "softplus": one(real),
    "xlogy": [*both(positive), ((PLANE, positive(2)), {})],
    "xlog1py": [*both(positive), ((PLANE, positive(2)), {})],
    "entr": one(positive),
    "rel_entr": both(positive),
    "kl_div": both(positive),
    "jv": of_orders(real, 0, 1, 3),
    "iv": of_orders(real, 0, 1, 3),
    "ive": of_orders(positive, 0, 1, 3),
}


def _bessel(x, order, sign):
    """Its power series."""
    terms = [
        sign**k * (x / 2) ** (2 * k + order) / (math.factorial(k) * math.factorial(k + order))
        for k in range(30)
    ]
    return sum(terms)


def _polygamma(n, x):
    """SciPy's at positive x; at negative x by the recurrence, up from it."""
    n, x = np.broadcast_arrays(n, np.asarray(x, float))
    total, up = np.zeros(x.shape), x.copy()
    while (up < 0).any():
        term = (-1.0) ** n * scipy.special.factorial(n) / up ** (n + 1)
        total = np.where(up < 0, total - term, total)
        up = np.where(up < 0, up + 1, up)
    return total + scipy.special.polygamma(n, up)


def _normal(x):
    return (1 + scipy.special.erf(x / math.sqrt(2))) / 2


REFERENCES = {
    "gaussian": lambda x: np.exp(-x * x),
    "erfc": lambda x: 1 - scipy.special.erf(x),
    "erfcx": lambda x: np.exp(x * x) * scipy.special.erfc(x),
    "erfcinv": lambda x: scipy.special.erfinv(1 - x),
    "ndtr": _normal,
    "ndtri": lambda x: math.sqrt(2) * scipy.special.erfinv(2 * x - 1),
    "gamma": np.vectorize(math.gamma, otypes=[float]),
    "gammaln": np.vectorize(math.lgamma, otypes=[float]),
    "polygamma": _polygamma,
    "beta": lambda x, y: (
        scipy.special.gamma(x) * scipy.special.gamma(y) / scipy.special.gamma(x + y)
    ),
    "betaln": lambda x, y: (
        scipy.special.gammaln(x) + scipy.special.gammaln(y) - scipy.special.gammaln(x + y)
    ),
    "gammaincc": lambda a, x: 1 - scipy.special.gammainc(a, x),
    "expit": lambda x: 1 / (1 + np.exp(-x)),
    "logit": lambda x: np.log(x / (1 - x)),
    "log_expit": lambda x: -np.log(1 + np.exp(-x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "xlogy": lambda x, y: x * np.log(y),
    "xlog1py": lambda x, y: x * np.log(1 + y),
    "entr": lambda x: -x * np.log(x),
    "rel_entr": lambda x, y: x * np.log(x / y),
    "kl_div": lambda x, y: x * np.log(x / y) - x + y,
    "jv": lambda x, order: _bessel(x, order, -1),
    "iv": lambda x, order: _bessel(x, order, 1),
    "ive": lambda x, order: np.exp(-np.abs(x)) * _bessel(x, order, 1),
}
