"""Samples of the primitives that networks are made of."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import special

from hpcad.parallel import SerialCommunicator

rng = np.random.default_rng(29)


def real(*shape):
    return rng.standard_normal(shape)


def plane(*shape):
    return real(*shape) + 1j * real(*shape)


def apart(*shape):
    """Values no two of which are close, so that no step crosses a tie."""
    return rng.permutation(np.arange(np.prod(shape, dtype=int))).reshape(shape) * 0.37 - 1.3


PAIR = {"stride": (1, 1), "padding": (1, 1)}
STRIDED = {"stride": (2, 1), "padding": (0, 2)}
WINNER = rng.integers(0, 4, (2, 2, 2, 3)).astype(np.int8)

SAMPLES = {
    "softmax": [((real(2, 3, 5),), {}), ((real(4),), {}), ((real(0, 5),), {})],
    "logsumexp": [((real(2, 3, 5),), {}), ((real(4),), {}), ((real(0, 5),), {})],
    "cross_entropy": [
        ((real(2, 3, 5), rng.integers(0, 5, (2, 3))), {}),
        ((real(5), np.array(3)), {}),
        ((real(0, 5), np.zeros(0, int)), {}),
    ],
    "layer_norm": [
        ((real(2, 3, 5), real(5), real(5)), {"eps": 1e-5}),
        ((real(3, 5), real(5), None), {"eps": 1e-3}),
        ((real(5), real(5), real(5)), {"eps": 1e-3}),
        ((real(0, 5), real(5), real(5)), {"eps": 1e-3}),
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
        ((plane(1, 3, 4, 2), plane(2, 2, 2, 2), plane(2)), PAIR),
    ],
    "conv_input": [
        ((real(2, 5, 6, 2), real(3, 3, 3, 2)), {"size": (5, 6), **PAIR}),
        ((real(2, 5, 6, 3), real(3, 3, 2, 3)), {"size": (5, 6), **PAIR}),
        ((real(2, 2, 9, 2), real(3, 2, 3, 2)), {"size": (5, 6), **STRIDED}),
        ((real(1, 5, 5, 2), real(1, 1, 1, 2)), {"size": (3, 3), **PAIR}),
        ((plane(1, 2, 9, 2), plane(3, 2, 3, 2)), {"size": (5, 6), **STRIDED}),
    ],
    "conv_weight": [
        ((real(2, 5, 6, 3), real(2, 5, 6, 2)), {"kernel": (3, 3), **PAIR}),
        ((real(2, 5, 6, 3), real(2, 2, 9, 2)), {"kernel": (3, 2), **STRIDED}),
        ((plane(1, 5, 6, 2), plane(1, 2, 9, 2)), {"kernel": (3, 2), **STRIDED}),
    ],
    "max_pool": [((apart(2, 5, 4, 3),), {"size": 2}), ((apart(1, 3, 3, 1),), {"size": 3})],
    "max_pool_parts": [((apart(2, 5, 4, 3),), {"size": 2})],
    "again": [((real(2, 3),), {}), ((plane(2),), {})],
    "in_range": [((np.array([[0, 4], [2, 1]]),), {"classes": 5})],
    "unpool": [((real(2, 2, 2, 3),), {"winner": WINNER, "shape": (2, 5, 4, 3), "size": 2})],
    "pick": [((real(2, 5, 4, 3),), {"winner": WINNER, "size": 2})],
    "alike": [((real(),), {"communicator": SerialCommunicator()})],
    "global_count": [((real(3, 2),), {"communicator": SerialCommunicator()})],
    "global_mean": [
        ((real(3, 2), 6), {"shape": (3, 2), "communicator": SerialCommunicator()}),
        ((real(2, 2), np.array(4)), {"shape": (2, 2), "communicator": SerialCommunicator()}),
    ],
}


# -- other ways to the same values ------------------------------------------------------------


def _cross_entropy(logits, labels):
    p = special.softmax(logits, axis=-1).reshape(-1, logits.shape[-1])
    rows = [-np.log(row[k]) for row, k in zip(p, labels.ravel(), strict=True)]
    return np.array(rows).reshape(labels.shape)


def _layer_norm(x, scale, shift, eps):
    hat = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return hat * scale + (0.0 if shift is None else shift)


def _attention(q, k, v, causal):
    scores = np.einsum("...qd,...kd->...qk", q, k) / np.sqrt(q.shape[-1])
    if causal:
        unseen = ~np.tri(scores.shape[-2], scores.shape[-1], k.shape[-2] - q.shape[-2], bool)
        scores = np.where(unseen, -np.inf, scores)
    return special.softmax(scores, axis=-1) @ v


def _pairs(size, kernel, out, stride, padding):
    """(output row and column, kernel row and column, input row and column) that meet."""
    for i, j, a, b in itertools.product(*map(range, (*out, *kernel))):
        row, column = i * stride[0] + a - padding[0], j * stride[1] + b - padding[1]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            yield (i, j), (a, b), (row, column)


def _conv(x, w, b, stride, padding):
    out = [(n + 2 * p - k) // s + 1
           for n, p, k, s in zip(x.shape[1:3], padding, w.shape, stride, strict=False)]  # fmt: skip
    y = np.zeros((len(x), *out, w.shape[3]), np.result_type(x, w))
    for (i, j), (a, c), (row, column) in _pairs(x.shape[1:3], w.shape[:2], out, stride, padding):
        y[:, i, j] += x[:, row, column] @ w[a, c]
    return y if b is None else y + b


def _conv_input(g, w, size, stride, padding):
    x = np.zeros((len(g), *size, w.shape[2]), np.result_type(g, w))
    for (i, j), (a, c), (row, column) in _pairs(size, w.shape[:2], g.shape[1:3], stride, padding):
        x[:, row, column] += g[:, i, j] @ w[a, c].T
    return x


def _conv_weight(x, g, kernel, stride, padding):
    w = np.zeros((*kernel, x.shape[3], g.shape[3]), np.result_type(x, g))
    for (i, j), (a, c), (row, column) in _pairs(
        x.shape[1:3], kernel, g.shape[1:3], stride, padding
    ):
        w[a, c] += x[:, row, column].T @ g[:, i, j]
    return w


def _windows(x, size):
    n, h, w, c = x.shape
    cut = x[:, : h // size * size, : w // size * size]
    parts = cut.reshape(n, h // size, size, w // size, size, c).transpose(0, 1, 3, 5, 2, 4)
    return parts.reshape(*parts.shape[:4], size * size)


def _unpool(g, winner, shape, size):
    out = np.zeros(shape, g.dtype)
    for n, i, j, c in np.ndindex(g.shape):
        a, b = divmod(int(winner[n, i, j, c]), size)
        out[n, i * size + a, j * size + b, c] = g[n, i, j, c]
    return out


def _pick(x, winner, size):
    return np.take_along_axis(_windows(x, size), winner[..., None].astype(int), -1)[..., 0]


REFERENCES = {
    "softmax": lambda x: special.softmax(x, axis=-1),
    "logsumexp": lambda x: special.logsumexp(x, axis=-1),
    "cross_entropy": _cross_entropy,
    "layer_norm": _layer_norm,
    "attention": _attention,
    "conv": _conv,
    "conv_input": _conv_input,
    "conv_weight": _conv_weight,
    "max_pool": lambda x, size: _windows(x, size).max(-1),
    "max_pool_parts": lambda x, size: (_windows(x, size).max(-1), _windows(x, size).argmax(-1)),
    "again": lambda x: x,
    "in_range": lambda labels, classes: np.where((labels >= 0) & (labels < classes), labels, -1),
    "unpool": _unpool,
    "pick": _pick,
    "alike": lambda x, communicator: x,
    "global_count": lambda x, communicator: np.array(x.size),
    "global_mean": lambda x, count, shape, communicator: x.sum() / count,
}
