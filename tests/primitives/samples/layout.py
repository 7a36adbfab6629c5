"""Samples of the primitives that move, join, repeat and pad."""

from __future__ import annotations

import numpy as np

rng = np.random.default_rng(29)


def real(*shape):
    return rng.standard_normal(shape)


def plane(*shape):
    return real(*shape) + 1j * real(*shape)


def each(*cases):
    """Every case with real and with complex arrays of the given shapes."""
    return [
        (tuple(make(*shape) for shape in shapes), params)
        for shapes, params in cases
        for make in (real, plane)
    ]


TRIPLE = (2, 3, 4)
WIDTHS = ((1, 2), (0, 3))

SAMPLES = {
    "broadcast_to": each(
        ([(3, 1)], {"shape": (2, 3, 4)}),
        ([()], {"shape": (2,)}),
        ([(1, 3)], {"shape": (0, 3)}),
    ),
    "reshape": each(
        ([(2, 6)], {"shape": (3, 4), "before": (2, 6)}),
        ([()], {"shape": (1, 1), "before": ()}),
        ([(0, 3)], {"shape": (2, 0), "before": (0, 3)}),
    ),
    "transpose": each(([TRIPLE], {"axes": (2, 0, 1)}), ([()], {"axes": ()})),
    "flip": each(
        ([TRIPLE], {"axes": (0, 2)}), ([TRIPLE], {"axes": ()}), ([(0, 3)], {"axes": (0, 1)})
    ),
    "roll": each(
        ([TRIPLE], {"shift": (1, -6), "axes": (0, 2)}),
        ([TRIPLE], {"shift": (1, 1), "axes": (1, 1)}),
        ([(0, 3)], {"shift": (1,), "axes": (0,)}),
    ),
    "concatenate": [
        *each(
            ([(2, 1), (2, 3)], {"axis": 1, "before": (1, 3)}),
            ([(2, 2), (0, 2), (1, 2)], {"axis": 0, "before": (2, 0, 1)}),
        ),
        ((real(2, 1), plane(2, 2)), {"axis": 1, "before": (1, 2)}),
    ],
    "unstack": each(
        ([(2, 3)], {"axis": 1, "shape": (2, 3)}), ([(2, 0)], {"axis": 0, "shape": (2, 0)})
    ),
    "split": each(
        ([(2, 6)], {"sizes": (2, 2, 2), "axis": 1}),
        ([(4, 3)], {"sizes": (3, 0, 1), "axis": 0}),
    ),
    "pad_zeros": each(
        ([(2, 3)], {"widths": WIDTHS, "before": (2, 3)}),
        ([()], {"widths": (), "before": ()}),
        ([(0, 2)], {"widths": WIDTHS, "before": (0, 2)}),
    ),
}


def _rolled(x, *, shift, axes):
    """Element by element: what stands at i goes to i + shift."""
    for s, a in zip(shift, axes, strict=True):
        n = x.shape[a]
        x = np.take(x, [(i - s) % n for i in range(n)], a) if n else x
    return x


def _flipped(x, *, axes):
    for a in axes:
        x = np.take(x, list(range(x.shape[a]))[::-1], a)
    return x


def _padded(x, *, widths, before):
    out = np.zeros([n + a + b for n, (a, b) in zip(before, widths, strict=True)], x.dtype)
    out[tuple(slice(a, a + n) for n, (a, _) in zip(before, widths, strict=True))] = x
    return out


REFERENCES = {
    "broadcast_to": lambda x, *, shape: x + np.zeros(shape),
    "reshape": lambda x, *, shape, before: np.array(list(x.flat), x.dtype).reshape(shape),
    "transpose": lambda x, *, axes: np.einsum(x, list(range(x.ndim)), list(axes)),
    "flip": _flipped,
    "roll": _rolled,
    "pad_zeros": _padded,
}
