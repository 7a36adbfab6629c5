"""Copies and triangles."""

from __future__ import annotations

import numpy as np

rng = np.random.default_rng(12)


def real(*shape):
    return rng.standard_normal(shape)


def complex_(*shape):
    return real(*shape) + 1j * real(*shape)


def triangles():
    return [
        ((real(3, 4),), {"k": 0}),
        ((real(2, 4, 3),), {"k": -1}),
        ((complex_(3, 3),), {"k": 1}),
        ((real(0, 3),), {"k": 0}),
    ]


def _lower(x, k):
    m, n = x.shape[-2:]
    return np.arange(n)[None, :] - np.arange(m)[:, None] <= k


SAMPLES = {
    "copy": [((real(2, 3),), {}), ((complex_(3),), {}), ((real(),), {}), ((real(0, 2),), {})],
    "tril": triangles(),
    "triu": triangles(),
}

REFERENCES = {
    "copy": lambda x: x,
    "tril": lambda x, *, k: x * _lower(x, k),
    "triu": lambda x, *, k: x * ~_lower(x, k - 1),
}
