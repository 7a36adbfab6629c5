"""Samples of reductions, running sums and products, sorting, searching and counting."""

from __future__ import annotations

import itertools

import numpy as np

rng = np.random.default_rng(31)


def real(*shape):
    return rng.standard_normal(shape)


def plane(*shape):
    return real(*shape) + 1j * real(*shape)


def apart(*shape):
    """Values no two of which are close, so that no step crosses a tie."""
    return rng.permutation(np.arange(np.prod(shape, dtype=int))).reshape(shape) * 0.37 - 1.3


def with_zeros(*shape, make=real):
    """Lines with no, one and two zeros, where division by the elements would fail."""
    x = make(*shape)
    x.reshape(-1, shape[-1])[1, 1] = 0
    x.reshape(-1, shape[-1])[2, :2] = 0
    return x


WHOLE = {"axis": None, "keepdims": False}
OVER = [
    WHOLE,
    {"axis": 1, "keepdims": False},
    {"axis": (0, -1), "keepdims": True},
    {"axis": (), "keepdims": False},
]
RUNS = [{"axis": a, "reverse": r} for a in (0, 1) for r in (False, True)]
ORDER = np.argsort(rng.random((3, 4)), axis=1)

SUMS = [
    ((make(2, 3, 4),), {**over, "before": (2, 3, 4)}) for over in OVER for make in (real, plane)
]
EXTREMES = [*(((apart(2, 3, 4),), over) for over in OVER), ((apart(1),), WHOLE)]
COUNTS = [((with_zeros(3, 4),), over) for over in OVER[:2]]
VALUES = [((rng.integers(0, 4, (3, 4)).astype(float),), {})]
SETS = [((np.array([3.0, 1.0, 1.0]), np.array([[1.0], [2.0]])), {})]

SAMPLES = {
    "sum": [*SUMS, ((real(0, 3),), {"axis": 0, "keepdims": False, "before": (0, 3)})],
    "max": EXTREMES,
    "min": EXTREMES,
    "nanmax": EXTREMES,
    "nanmin": EXTREMES,
    "all": COUNTS,
    "any": COUNTS,
    "count_nonzero": COUNTS,
    "prod": [
        *(((with_zeros(3, 4),), over) for over in OVER),
        *(((with_zeros(3, 4, make=plane),), over) for over in OVER[:2]),
        ((real(2, 3, 2),), {"axis": (2, 0), "keepdims": False}),
        ((real(0, 3),), {"axis": 0, "keepdims": False}),
        ((real(),), WHOLE),
    ],
    "cumsum": [((make(3, 4),), run) for run in RUNS for make in (real, plane)],
    "cumprod": [
        *(((with_zeros(3, 4, make=make),), run) for run in RUNS for make in (real, plane)),
        ((real(0, 3),), RUNS[0]),
        ((real(1, 3),), RUNS[1]),
    ],
    "recurrence": [
        *(
            ((with_zeros(3, 5, make=make), make(3, 5)), run)
            for run in RUNS
            for make in (real, plane)
        ),
        ((real(0, 3), real(0, 3)), RUNS[0]),
    ],
    "sort": [
        ((apart(3, 4),), {"axis": 1, "descending": False}),
        ((apart(3, 4),), {"axis": 0, "descending": True}),
        ((apart(0),), {"axis": 0, "descending": True}),
    ],
    "rearrange": [
        ((make(3, 4), ORDER), {"axis": 1, "back": back})
        for back in (False, True)
        for make in (real, plane)
    ],
    "argsort": [
        ((apart(3, 4),), {"axis": 0, "descending": True, "stable": True}),
        ((apart(3, 4),), {"axis": 1, "descending": False, "stable": False}),
    ],
    "argpartition": [((apart(3, 4),), {"places": 2, "axis": 1})],
    "argmax": [((apart(3, 4),), {"axis": 1}), ((apart(3, 4),), WHOLE)],
    "argmin": [((apart(3, 4),), {"axis": 1, "keepdims": True}), ((apart(3, 4),), WHOLE)],
    "searchsorted": [
        ((np.arange(4.0), apart(2, 3), None), {"side": "left"}),
        ((np.arange(4.0)[::-1], apart(2, 3), np.arange(4)[::-1]), {"side": "right"}),
    ],
    "nonzero": [((with_zeros(3, 4),), {})],
    "unique_all": VALUES,
    "unique_counts": VALUES,
    "unique_inverse": VALUES,
    "unique_values": VALUES,
    "isin": [((np.arange(6.0).reshape(2, 3), np.array([1.0, 4.0])), {"invert": False})],
    "intersect1d": SETS,
    "setdiff1d": SETS,
    "setxor1d": SETS,
    "union1d": SETS,
    "bincount": [((np.array([1, 0, 1, 4]), None), {"least": 7})],
    "histogram": [((apart(5), 3, None), {"limits": None, "density": False})],
    "digitize": [((apart(2, 3), np.arange(3.0)), {"right": True})],
    "convolve_full": [
        ((make(m), make(n)), {}) for m, n in [(1, 1), (4, 2), (2, 5)] for make in (real, plane)
    ],
}


def _recurrence(a, b, *, axis, reverse):
    """Step by step."""
    h, places = np.zeros_like(b), range(b.shape[axis])
    last = np.zeros_like(np.take(b, 0, axis)) if len(places) else 0
    for i in reversed(places) if reverse else places:
        at = (slice(None),) * axis + (i,)
        last = h[at] = a[at] * last + b[at]
    return h


def _running(operation):
    def reference(x, *, axis, reverse):
        out, places = x.copy(), range(x.shape[axis])
        lead = (slice(None),) * axis
        for last, i in itertools.pairwise(reversed(places) if reverse else places):
            out[(*lead, i)] = operation(out[(*lead, last)], out[(*lead, i)])
        return out

    return reference


REFERENCES = {
    "sum": lambda x, *, axis, keepdims, before: np.add.reduce(x, axis=axis, keepdims=keepdims),
    "prod": lambda x, *, axis, keepdims: np.multiply.reduce(x, axis=axis, keepdims=keepdims),
    "nanmax": lambda x, *, axis, keepdims: np.nanmax(x, axis=axis, keepdims=keepdims),
    "nanmin": lambda x, *, axis, keepdims: np.nanmin(x, axis=axis, keepdims=keepdims),
    "cumsum": _running(lambda a, b: a + b),
    "cumprod": _running(lambda a, b: a * b),
    "recurrence": _recurrence,
    "convolve_full": lambda x, y: np.array(
        [
            sum(x[k] * y[n - k] for k in range(len(x)) if 0 <= n - k < len(y))
            for n in range(len(x) + len(y) - 1)
        ]
    ),
}
