"""Sample arguments of every primitive in the table.

``SAMPLES[name]`` is a list of ``(arguments, parameters)``. Floating arguments are what the
tests differentiate with respect to. A primitive without an entry here fails the tests.
"""

from __future__ import annotations

import numpy as np

rng = np.random.default_rng(7)


def real(*shape):
    return rng.standard_normal(shape)


def positive(*shape):
    return rng.uniform(0.5, 2.0, shape)


def apart(*shape):
    """Values no two of which are close, so that no step crosses a tie."""
    return rng.permutation(np.arange(np.prod(shape, dtype=int))).reshape(shape) * 0.37 - 1.3


def both(make):
    """A binary elementwise primitive: equal shapes, and broadcasting both ways."""
    return [
        ((make(3, 4), make(3, 4)), {}),
        ((make(3, 1), make(2, 1, 4)), {}),
        ((make(), make(2)), {}),
        ((make(0, 3), make(3)), {}),
    ]


def one(make):
    return [((make(3, 4),), {}), ((make(),), {}), ((make(2, 0),), {})]


MASK = rng.random((3, 4)) > 0.5
WHOLE = {"axis": None, "keepdims": False}

SAMPLES = {
    "matmul": [
        ((real(2, 3), real(3, 4)), {}),
        ((real(5, 2, 3), real(5, 3, 4)), {}),
        ((real(2, 1, 2, 3), real(5, 3, 4)), {}),
    ],
    "linear": [
        ((real(5, 3), real(3, 4), real(4)), {}),
        ((real(2, 5, 3), real(3, 4), real(4)), {}),
        ((real(5, 3), real(3, 4), None), {}),
    ],
}
