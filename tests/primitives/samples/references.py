"""Other ways to the values of simple primitives: Python's own operators, and loops.

What only moves, counts or selects elements is in ``loops.py``; what determines answers that are not
unique, as factorizations, in ``constraints.py``.
"""

from __future__ import annotations

import bisect
import cmath
import itertools
import math
import operator

import numpy as np
import scipy.integrate


def _each(function, otype=None):
    """A function of Python numbers, applied to every element of broadcast arrays."""

    def apply(*args, **params):
        plain = [np.asarray(a, object) for a in args]
        otypes = [np.result_type(*args, float) if otype is None else otype]
        return np.vectorize(lambda *xs: function(*xs, **params), otypes=otypes)(*plain)

    return apply


def _along(function):
    """A function of a list, applied along an axis or several (of all elements, if it is None)."""

    def apply(x, axis, keepdims=False, **params):
        axes = range(x.ndim) if axis is None else np.atleast_1d(axis)
        axes = [int(a) % x.ndim for a in axes]
        last = np.moveaxis(x, axes, range(-len(axes), 0))
        rows = last.reshape(*last.shape[: x.ndim - len(axes)], -1)
        found = np.apply_along_axis(lambda row: function(row.tolist(), **params), -1, rows)
        if found.ndim == rows.ndim:  # the function returned a list
            return np.moveaxis(found, -1, axes[0])
        return np.expand_dims(found, axes) if keepdims else found

    return apply


# -- elementwise ----------------------------------------------------------------------------------


def _gelu(x):
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x / (1 + cmath.exp(-2 * u))


def _sinc(x, order):
    """The derivatives of ``integral of cos(pi x t), t from 0 to 1``, by a Gauss rule."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = (nodes + 1) / 2
    wave = np.cos(np.pi * x[..., None] * t + order * np.pi / 2)
    return np.sum(weights / 2 * (np.pi * t) ** order * wave, -1)


def _unwrap(x, discont, axis, period):
    """Add periods so that no step is longer than half of one."""
    y = np.moveaxis(np.array(x), axis, 0)
    for i in range(1, len(y)):
        y[i] -= period * np.round((y[i] - y[i - 1]) / period)
    return np.moveaxis(y, 0, axis)


def _gammainc(a, x):
    """``integral of t^(a-1) exp(-t) / gamma(a), t from 0 to x``, with ``s = t^a``."""
    total, _ = scipy.integrate.quad(lambda s: math.exp(-(s ** (1 / a))) / a, 0, x**a, epsabs=1e-13)
    return total / math.gamma(a)


def _erf(z):
    """``2 z / sqrt(pi) times the integral of exp(-z^2 t^2), t from 0 to 1``, by a Gauss rule."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t = (nodes + 1) / 2
    z = np.asarray(z)[..., None]
    return np.sum(weights * z / math.sqrt(math.pi) * np.exp(-((z * t) ** 2)), -1)


ELEMENTWISE = {
    "add": _each(operator.add),
    "subtract": _each(operator.sub),
    "multiply": _each(operator.mul),
    "divide": _each(operator.truediv),
    "negative": _each(operator.neg),
    "positive": _each(operator.pos),
    "equal": _each(operator.eq, bool),
    "not_equal": _each(operator.ne, bool),
    "greater": _each(operator.gt, bool),
    "greater_equal": _each(operator.ge, bool),
    "less": _each(operator.lt, bool),
    "less_equal": _each(operator.le, bool),
    "logical_and": _each(lambda x, y: bool(x) and bool(y), bool),
    "logical_or": _each(lambda x, y: bool(x) or bool(y), bool),
    "logical_xor": _each(lambda x, y: bool(x) != bool(y), bool),
    "logical_not": _each(operator.not_, bool),
    "isfinite": _each(cmath.isfinite, bool),
    "isinf": _each(cmath.isinf, bool),
    "isnan": _each(cmath.isnan, bool),
    "signbit": _each(lambda x: math.copysign(1, x) < 0, bool),
    "isclose": _each(
        lambda x, y, rtol, atol, equal_nan: (
            x == y or abs(x - y) <= atol + rtol * abs(y) or (equal_nan and x != x and y != y)
        ),
        bool,
    ),
    "where": lambda c, x, y: _each(lambda c, x, y: x if c else y, np.result_type(x, y))(c, x, y),
    "maximum": _each(max),
    "minimum": _each(min),
    "fmax": _each(lambda x, y: x if y != y else y if x != x else max(x, y)),
    "fmin": _each(lambda x, y: x if y != y else y if x != x else min(x, y)),
    "heaviside": _each(lambda x, y: y if x == 0 else float(x > 0)),
    "sinc": _sinc,
    "unwrap": _unwrap,
    "relu": _each(lambda x: max(x, 0.0)),
    "gelu": _each(lambda x: _gelu(x).real),
    "gelu_slope": _each(lambda x: _gelu(x + 1e-30j).imag / 1e-30),  # the complex step
    "bitwise_and": _each(operator.and_, int),
    "bitwise_or": _each(operator.or_, int),
    "bitwise_xor": _each(operator.xor, int),
    "bitwise_invert": _each(operator.inv, int),
    "bitwise_left_shift": _each(operator.lshift, int),
    "bitwise_right_shift": _each(operator.rshift, int),
    "bitwise_count": _each(lambda n: bin(n).count("1"), int),
    "real": _each(lambda z: complex(z).real, float),
    "imag": _each(lambda z: complex(z).imag, float),
    "conj": _each(lambda z: z.conjugate()),
    "fabs": _each(math.fabs),
    "sign": _each(lambda z: z / abs(z) if z else z),
    "ceil": _each(math.ceil, float),
    "floor": _each(math.floor, float),
    "trunc": _each(math.trunc, float),
    "rint": _each(round, float),
    "round": _each(lambda x, decimals: round(x * 10**decimals) / 10**decimals, float),
    "nextafter": _each(math.nextafter),
    "exponent": _each(lambda x: math.frexp(x)[1], int),
    "erf": _erf,
    "log_ndtr": _each(
        lambda z: (
            cmath.log((1 + _erf(z / math.sqrt(2))) / 2)
            if isinstance(z, complex)
            else math.log(math.erfc(-z / math.sqrt(2)) / 2)
        )
    ),
    "gammainc": _each(_gammainc),
}

# -- reductions, order ----------------------------------------------------------------------------

REDUCTIONS = {
    "max": _along(max),
    "min": _along(min),
    "all": _along(all),
    "any": _along(any),
    "count_nonzero": _along(lambda row: sum(map(bool, row))),
    "argmax": _along(lambda row: row.index(max(row))),
    "argmin": _along(lambda row: row.index(min(row))),
    "sort": _along(lambda row, descending: sorted(row, reverse=descending)),
    "unique_values": lambda x: np.array(sorted(set(x.ravel().tolist()))),
    "intersect1d": lambda x, y: np.array(sorted(set(x.ravel()) & set(y.ravel()))),
    "setdiff1d": lambda x, y: np.array(sorted(set(x.ravel()) - set(y.ravel()))),
    "setxor1d": lambda x, y: np.array(sorted(set(x.ravel()) ^ set(y.ravel()))),
    "union1d": lambda x, y: np.array(sorted(set(x.ravel()) | set(y.ravel()))),
    "isin": lambda x, y, invert: _each(lambda v: (v in y.ravel()) != invert, bool)(x),
    "digitize": lambda x, bins, right: _each(
        lambda v: (bisect.bisect_left if right else bisect.bisect_right)(bins.tolist(), v), int
    )(x),
}

# -- matrices -------------------------------------------------------------------------------------


def _diagonal(a, offset, rows, columns):
    pairs = [(i, i + offset) for i in range(rows) if 0 <= i + offset < columns]
    parts = [a[..., i, j] for i, j in pairs]
    return np.stack(parts, -1) if parts else np.zeros((*a.shape[:-2], 0), a.dtype)


def _from_diagonal(d, offset, rows, columns):
    out = np.zeros((*d.shape[:-1], rows, columns), d.dtype)
    pairs = [(i, i + offset) for i in range(rows) if 0 <= i + offset < columns]
    for k, (i, j) in enumerate(pairs):
        out[..., i, j] = d[..., k]
    return out


def _cross(a, b, axis):
    levi_civita = np.zeros((3, 3, 3))
    for i, j, k in itertools.permutations(range(3)):
        levi_civita[i, j, k] = np.linalg.det(np.eye(3)[[i, j, k]])
    a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    return np.moveaxis(np.einsum("ijk,...j,...k->...i", levi_civita, a, b), -1, axis)


def _determinant(a):
    """(sign, log of the absolute value), by the eigenvalues."""
    values = np.linalg.eigvals(a)
    sign = np.prod(values / np.abs(values), -1)
    return (sign if a.dtype.kind == "c" else sign.real), np.sum(np.log(np.abs(values)), -1)


def _expm(a):
    """Taylor's series at a 64th of the matrix, squared six times."""
    term = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    total = term
    for k in range(1, 25):
        term = term @ a / (64 * k)
        total = total + term
    for _ in range(6):
        total = total @ total
    return total


def _concatenate(*xs, axis, before):
    return np.moveaxis(np.array([r for x in xs for r in np.moveaxis(x, axis, 0)]), 0, axis)


def _split(x, sizes, axis):
    rows, ends = np.moveaxis(x, axis, 0), list(itertools.accumulate(sizes))
    return tuple(np.moveaxis(rows[e - n : e], 0, axis) for n, e in zip(sizes, ends, strict=True))


MATRICES = {
    "matmul": lambda a, b: np.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2),
    "linear": lambda x, w, b: np.einsum("...i,ij->...j", x, w) + (0.0 if b is None else b),
    "matrix_diagonal": _diagonal,
    "from_matrix_diagonal": _from_diagonal,
    "cross": _cross,
    "inv": lambda a: np.linalg.solve(a, np.broadcast_to(np.eye(a.shape[-1]), a.shape)),
    "slogdet": _determinant,
    "expm": _expm,
    "concatenate": _concatenate,
    "split": _split,
    "unstack": lambda x, axis, shape: tuple(np.moveaxis(x, axis, 0)),
}

REFERENCES = {**ELEMENTWISE, **REDUCTIONS, **MATRICES}
