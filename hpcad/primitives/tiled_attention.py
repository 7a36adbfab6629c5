"""Attention for programs of devices: one kernel forward, and one way back, without the scores.

The way back needs the results and, of each query, the logarithm of the sum of exponentials
(Dao et al., arXiv:2205.14135). These two have no derivative rules: programs take them where a
plain :func:`~hpcad.primitives.attention.attention` is differentiated once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff.conversion import CAPTURED
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of

LONGEST = 128  # elements of a head that the kernels take
MASKED = -1e30


def _scores(q: Any, k: Any, causal: bool) -> Any:
    backend = backend_of(q)
    scores = backend.gemm(q, np.swapaxes(k, -1, -2), alpha=1.0 / math.sqrt(q.shape[-1]))
    if causal:
        queries, keys = scores.shape[-2:]
        xp = backend.xp
        hidden = xp.arange(keys)[None, :] > xp.arange(queries)[:, None] + (keys - queries)
        scores = np.where(hidden, scores.dtype.type(MASKED), scores)
    return scores


def _wide(*arrays: Any) -> list[Any]:
    return [x.astype(np.float32) if x.dtype.itemsize == 2 else x for x in arrays]


def _forward(q: Any, k: Any, v: Any, *, causal: bool) -> tuple[Any, Any]:
    kind = q.dtype
    q, k, v = _wide(q, k, v)
    scores = _scores(q, k, causal)
    top = scores.max(axis=-1, keepdims=True)
    p = np.exp(scores - top)
    total = p.sum(axis=-1, keepdims=True)
    out = backend_of(q).gemm(p / total, v)
    return out.astype(kind, copy=False), (np.log(total) + top)[..., 0]


def _backward(
    q: Any, k: Any, v: Any, out: Any, g: Any, log_sums: Any, *, causal: bool
) -> tuple[Any, Any, Any]:
    kind, gemm = q.dtype, backend_of(q).gemm
    q, k, v, out, g = _wide(q, k, v, out, g)
    p = np.exp(_scores(q, k, causal) - log_sums[..., None])
    dp = gemm(g, np.swapaxes(v, -1, -2))
    ds = p * (dp - (g * out).sum(axis=-1, keepdims=True)) / math.sqrt(q.shape[-1])
    ds = ds.astype(q.dtype, copy=False)
    found = (gemm(ds, k), gemm(np.swapaxes(ds, -1, -2), q), gemm(np.swapaxes(p, -1, -2), g))
    return tuple(x.astype(kind, copy=False) for x in found)


#: ``out, log_sums = tiled_attention(q, k, v)``; q, k, v of shape (B, H, T, D).
tiled_attention = Primitive(
    "tiled_attention", _forward, None, outputs=True, constant=True, register=False
)

#: ``dq, dk, dv`` of the cotangent ``g`` of ``out``.
tiled_attention_back = Primitive(
    "tiled_attention_back", _backward, None, outputs=True, constant=True, register=False
)


def has_tiles(q: Any, k: Any, v: Any, causal: bool) -> bool:
    """Whether the kernels of a device take these, and nobody differentiates what they compute."""
    arrays = (q, k, v)
    if not all(isinstance(x, Tensor) and x.level == CAPTURED for x in arrays):
        return False
    if not backend_of(value_of(q)).on_device or len(q.shape) != 4 or 0 in q.shape:
        return False
    if len({x.dtype for x in arrays}) != 1 or k.shape != v.shape or q.shape[-1] > LONGEST:
        return False
    return q.shape[:2] == k.shape[:2] and (not causal or q.shape[-2] <= k.shape[-2])
