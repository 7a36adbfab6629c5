"""Sample arguments of every primitive in the table.

``SAMPLES[name]`` is a list of ``(arguments, parameters)``. Floating arguments are what the
tests differentiate with respect to. A primitive without an entry here fails the tests.
"""

from __future__ import annotations

import numpy as np

from hpcad.parallel import SerialCommunicator

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


PAIR = {"stride": (1, 1), "padding": (1, 1)}
STRIDED = {"stride": (2, 1), "padding": (0, 2)}
WINNER = rng.integers(0, 4, (2, 2, 2, 3)).astype(np.int8)
LABELS = rng.integers(0, 5, (2, 3))
INDEX = np.array([[2, 0, 2], [1, 1, 3]])
MASK = rng.random((3, 4)) > 0.5
SLICE = (slice(None, None, 2), 1)
FANCY = (np.array([0, 2, 2, 0]),)
WHOLE = {"axis": None, "keepdims": False}

SAMPLES = {
    "broadcast_to": [((real(3, 1),), {"shape": (2, 3, 4)}), ((real(),), {"shape": (2,)})],
    "sum": [
        ((real(2, 3, 4),), {"axis": (0, 2), "keepdims": False, "shape": (2, 3, 4)}),
        ((real(2, 3),), {"axis": None, "keepdims": False, "shape": (2, 3)}),
        ((real(2, 3),), {"axis": -1, "keepdims": True, "shape": (2, 3)}),
    ],
    "max": [((apart(3, 4),), {"axis": 1, "keepdims": False}), ((apart(3, 4),), WHOLE)],
    "min": [((apart(3, 4),), {"axis": 0, "keepdims": True}), ((apart(3, 4),), WHOLE)],
    "argmax": [((apart(3, 4),), {"axis": 1})],
    "reshape": [((real(2, 6),), {"shape": (3, 4), "before": (2, 6)})],
    "transpose": [((real(2, 3, 4),), {"axes": (2, 0, 1)})],
    "getitem": [
        ((real(4, 3),), {"index": SLICE, "before": (4, 3)}),
        ((real(4, 3),), {"index": FANCY, "before": (4, 3)}),
    ],
    "scatter": [
        ((real(2),), {"index": SLICE, "before": (4, 3)}),
        ((real(4, 3),), {"index": FANCY, "before": (4, 3)}),
    ],
    "concatenate": [((real(2, 1), real(2, 3)), {"axis": 1, "sizes": (1, 3)})],
    "unstack": [((real(2, 3),), {"axis": 1, "shape": (2, 3)})],
    "split": [
        ((real(2, 6),), {"sections": 3, "axis": 1}),
        ((real(4, 3),), {"sections": 2, "axis": 0}),
    ],
    "take_rows": [((real(4, 5), INDEX), {})],
    "add_rows": [((real(2, 3, 5), INDEX), {"rows": 4})],
    "global_mean": [
        ((real(3, 2),), {"count": 6, "shape": (3, 2), "communicator": SerialCommunicator()})
    ],
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
    "softmax": [((real(2, 3, 5),), {})],
    "logsumexp": [((real(2, 3, 5),), {})],
    "cross_entropy": [((real(2, 3, 5), LABELS), {})],
    "layer_norm": [
        ((real(2, 3, 5), real(5), real(5)), {"eps": 1e-5}),
        ((real(3, 5), real(5), None), {"eps": 1e-3}),
    ],
    "attention": [
        ((real(2, 4, 3), real(2, 4, 3), real(2, 4, 5)), {"causal": True}),
        ((real(2, 2, 3), real(2, 4, 3), real(2, 4, 5)), {"causal": False}),
        ((real(2, 3), real(4, 3), real(4, 5)), {"causal": True}),
    ],
    "conv": [
        ((real(2, 5, 6, 3), real(3, 3, 3, 2), real(2)), PAIR),
        ((real(2, 5, 6, 3), real(3, 2, 3, 2), None), STRIDED),
        ((real(1, 3, 3, 1), real(1, 1, 1, 2), real(2)), PAIR),
        ((real(0, 5, 6, 3), real(3, 3, 3, 2), real(2)), PAIR),
    ],
    "conv_input": [
        ((real(2, 5, 6, 2), real(3, 3, 3, 2)), {"size": (5, 6), **PAIR}),
        ((real(2, 5, 6, 3), real(3, 3, 2, 3)), {"size": (5, 6), **PAIR}),
        ((real(2, 2, 9, 2), real(3, 2, 3, 2)), {"size": (5, 6), **STRIDED}),
        ((real(1, 5, 5, 2), real(1, 1, 1, 2)), {"size": (3, 3), **PAIR}),
    ],
    "conv_weight": [
        ((real(2, 5, 6, 3), real(2, 5, 6, 2)), {"kernel": (3, 3), **PAIR}),
        ((real(2, 5, 6, 3), real(2, 2, 9, 2)), {"kernel": (3, 2), **STRIDED}),
    ],
    "max_pool": [((apart(2, 5, 4, 3),), {"size": 2})],
    "unpool": [((real(2, 2, 2, 3),), {"winner": WINNER, "shape": (2, 5, 4, 3), "size": 2})],
    "pick": [((real(2, 5, 4, 3),), {"winner": WINNER, "size": 2})],
}
