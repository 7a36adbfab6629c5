"""Picking and placing by index."""

from __future__ import annotations

import numpy as np

rng = np.random.default_rng(11)


def real(*shape):
    return rng.standard_normal(shape)


def complex_(*shape):
    return real(*shape) + 1j * real(*shape)


ROWS = np.array([[2, 0, 2], [1, 1, 3]])
MASK = np.array([[True, False, True], [False, False, True], [True, True, False], [False] * 3])

# index into an array of shape (4, 3) -> shape of what it picks
INDICES = [
    ((slice(None, None, 2), 1), (2,)),
    ((np.array([0, 2, 2, 0]),), (4, 3)),
    ((np.array([0, -1, 0]), np.array([[2], [1]])), (2, 3)),
    ((MASK,), (5,)),
    ((slice(None), np.array([True, False, True])), (4, 2)),
    ((..., None, slice(None, None, -1)), (4, 1, 3)),
    ((3, 1), ()),
    ((slice(2, 2),), (0, 3)),
    ((np.array([], np.intp),), (0, 3)),
]


def at(index, before=(4, 3)):
    return {"index": index, "before": before}


def _index_set(x, v, *, index, before):
    """Element by element, in the order of the index."""
    places = np.arange(x.size).reshape(x.shape)[index]
    out = x.ravel().copy()
    for place, value in zip(places.ravel(), np.broadcast_to(v, places.shape).ravel(), strict=True):
        out[place] = value
    return out.reshape(x.shape)


def _scatter(g, *, index, before):
    places = np.arange(int(np.prod(before))).reshape(before)[index]
    out = np.zeros(int(np.prod(before)), g.dtype)
    for place, value in zip(places.ravel(), g.ravel(), strict=True):
        out[place] += value
    return out.reshape(before)


SAMPLES = {
    "getitem": [
        *(((real(4, 3),), at(index)) for index, _ in INDICES),
        ((complex_(4, 3),), at(INDICES[1][0])),
        ((real(4, 3).T[::-1],), at(INDICES[1][0], (3, 4))),
        ((real(),), at((None,), ())),
    ],
    "scatter": [
        *(((real(*shape),), at(index)) for index, shape in INDICES),
        ((complex_(4, 3),), at(INDICES[1][0])),
    ],
    "index_set": [
        *(((real(4, 3), real(*shape)), at(index)) for index, shape in INDICES),
        ((complex_(4, 3), complex_(4, 3)), at(INDICES[1][0])),
        ((complex_(4, 3), real(2)), at(INDICES[0][0])),
        ((real(4, 3), real(3)), at(INDICES[1][0])),
        ((real(4, 3), real()), at(INDICES[3][0])),
        ((real(4, 3), real(4, 1)), at((np.array([1, 1, 0, 1]),))),
        ((real(), real()), at((), ())),
    ],
    "take_rows": [((real(4, 5), ROWS), {}), ((complex_(4, 2), ROWS), {})],
    "add_rows": [((real(2, 3, 5), ROWS), {"rows": 4}), ((complex_(2, 3), ROWS), {"rows": 4})],
}

REFERENCES = {
    "getitem": lambda x, *, index, before: x.reshape(before)[index],
    "scatter": _scatter,
    "index_set": _index_set,
    "take_rows": lambda table, index: table[index],
    "add_rows": lambda g, index, *, rows: _scatter(
        g, index=(index,), before=(rows, *g.shape[index.ndim :])
    ),
}
