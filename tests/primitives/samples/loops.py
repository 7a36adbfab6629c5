"""Other ways to values that move, count and search elements, by loops; and of a few functions."""

from __future__ import annotations

import math

import numpy as np


def _each(function, otype=float):
    return lambda x, **params: np.vectorize(lambda v: function(v, **params), otypes=[otype])(x)


# -- functions of numbers ---------------------------------------------------------------------


def _nan_to_num(x, nan, posinf, neginf):
    largest = np.finfo(float).max
    if math.isnan(x):
        return nan
    if math.isinf(x):
        return (largest if posinf is None else posinf) if x > 0 else -largest
    return x


def _erfinv(y):
    """By bisection."""
    low, high = -6.0, 6.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < y else (low, middle)
    return middle


def _digamma(x):
    """The asymptotic series where it is short, and the recurrence and the reflection up to there.

    Its terms are ``-B_n / (n x^n)`` with Bernoulli's numbers.
    """
    if x < 0:
        return _digamma(1 - x) - math.pi / math.tan(math.pi * x)
    if x < 12:
        return _digamma(x + 1) - 1 / x
    bernoulli = {2: 1 / 6, 4: -1 / 30, 6: 1 / 42, 8: -1 / 30, 10: 5 / 66, 12: -691 / 2730}
    return math.log(x) - 1 / (2 * x) - sum(b / (n * x**n) for n, b in bernoulli.items())


# -- elements -----------------------------------------------------------------------------------


def _resize(x, axes, sizes):
    """Every element that has a place in the answer, put there."""
    shape = list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    out = np.zeros(shape, x.dtype)
    for place in np.ndindex(*x.shape):
        if all(i < n for i, n in zip(place, shape, strict=True)):
            out[place] = x[place]
    return out


def _rearrange(x, order, axis, back):
    out = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        other = list(place)
        other[axis] = order[place]
        other = tuple(other)
        if back:
            out[other] = x[place]
        else:
            out[place] = x[other]
    return out


def _argsort(x, axis, descending, stable):
    def of_a_line(line):
        return np.array(sorted(range(len(line)), key=lambda i: -line[i] if descending else line[i]))

    return np.apply_along_axis(of_a_line, axis, x)


def _searchsorted(line, x, sorter, side):
    ascending = line if sorter is None else line[sorter]
    return _each(lambda v: sum(a < v if side == "left" else a <= v for a in ascending), int)(x)


def _nonzero(x):
    places = [place for place in np.ndindex(*x.shape) if x[place] != 0]
    return tuple(np.array([place[axis] for place in places]) for axis in range(x.ndim))


# -- counts -------------------------------------------------------------------------------------


def _unique(x):
    """The different values; where the first of each is; which one an element is; how many."""
    row = x.ravel().tolist()
    values = sorted(set(row))
    inverse = np.array([values.index(v) for v in row]).reshape(x.shape)
    return (
        np.array(values),
        np.array([row.index(v) for v in values]),
        inverse,
        np.array([row.count(v) for v in values]),
    )


def _bincount(x, weights, least):
    count = max(least, max(x.tolist(), default=-1) + 1)
    weights = np.ones(len(x), int) if weights is None else weights
    return np.array([sum(w for v, w in zip(x, weights, strict=True) if v == n)
                     for n in range(count)])  # fmt: skip


def _histogram(x, bins, weights, limits, density):
    low, high = (x.min(), x.max()) if limits is None else limits
    edges = [low + (high - low) * i / bins for i in range(bins + 1)]
    counts = [0] * bins
    for v in x.ravel():
        if low <= v <= high:
            counts[min(sum(v >= edge for edge in edges) - 1, bins - 1)] += 1
    return np.array(counts), np.array(edges)


REFERENCES = {
    "cast": lambda x, dtype: np.array(x.tolist(), dtype),
    "cast_to_discrete": lambda x, dtype: np.array([int(v) for v in x], dtype),
    "imag_of_real": lambda x: x - x,
    "nan_to_num": _each(_nan_to_num),
    "erfinv": _each(_erfinv),
    "digamma": _each(_digamma),
    "resize": _resize,
    "rearrange": _rearrange,
    "argsort": _argsort,
    "searchsorted": _searchsorted,
    "nonzero": _nonzero,
    "unique_all": _unique,
    "unique_counts": lambda x: (_unique(x)[0], _unique(x)[3]),
    "unique_inverse": lambda x: (_unique(x)[0], _unique(x)[2]),
    "bincount": _bincount,
    "histogram": _histogram,
}
