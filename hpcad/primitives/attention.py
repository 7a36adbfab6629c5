"""Scaled dot-product attention (Vaswani et al., arXiv:1706.03762): two batched GEMMs a pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of
from hpcad.errors import ShapeError
from hpcad.primitives import reduction
from hpcad.primitives.builders import unary
from hpcad.primitives.elementwise import add, multiply, subtract, where
from hpcad.primitives.joining import concatenate
from hpcad.primitives.layout import matrix_transpose
from hpcad.primitives.precision import in_single
from hpcad.primitives.product import matmul
from hpcad.primitives.softmax import softmax
from hpcad.primitives.tiled_attention import has_tiles, tiled_attention, tiled_attention_back

MASKED = -1e30  # exp() of it is 0 in every floating type, and it is no infinity
MASKED_HALF = -3e4  # the same in float16


# The same array, which counts as another one: what is computed from it is computed again instead
# of being kept from the first time.
again = unary("again", lambda x: x, lambda g, _z, _x: g)


def _mask(queries: int, keys: int, xp: Any) -> Any:
    """True where key j lies after query i."""
    return xp.arange(keys)[None, :] > xp.arange(queries)[:, None] + (keys - queries)


def _attention(q: Any, k: Any, v: Any, *, causal: bool) -> tuple[Any, Any]:
    """Answer, and the probabilities as residual."""
    if causal and q.shape[-2] > k.shape[-2]:
        raise ShapeError(
            f"causal attention: {q.shape[-2]} queries but {k.shape[-2]} keys; the first queries "
            "would see no key at all"
        )
    backend = backend_of(q)
    scale = 1.0 / math.sqrt(q.shape[-1])
    p = backend.gemm(q, np.swapaxes(k, -1, -2), alpha=scale)
    if causal:
        np.copyto(p, p.dtype.type(MASKED), where=_mask(p.shape[-2], p.shape[-1], backend.xp))
    p -= p.max(axis=-1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=-1, keepdims=True)
    return backend.gemm(p, v), p


def _probabilities(q: Any, k: Any, causal: bool) -> Any:
    """The residual by primitives, for nested transforms."""
    scores = multiply(matmul(q, matrix_transpose(k)), 1.0 / math.sqrt(np.shape(q)[-1]))
    if causal:
        xp = backend_of(value_of(q)).xp
        hidden = MASKED if scores.dtype != np.float16 else MASKED_HALF
        scores = where(_mask(np.shape(q)[-2], np.shape(k)[-2], xp), hidden, scores)
    return softmax(scores)


# -- long sequences: a block of queries after the other ------------------------------------


LONG = 512  # keys; shorter scores stay in cache
BLOCK = 128  # queries


def blocks(q: Any, k: Any, causal: bool) -> list[tuple[slice, slice]]:
    """Queries and the keys that they see, block by block; one block where sequences are short."""
    queries, keys = np.shape(q)[-2], np.shape(k)[-2]
    if keys < LONG or queries <= BLOCK:
        return [(slice(0, queries), slice(0, keys))]
    found = []
    for start in range(0, queries, BLOCK):
        stop = min(start + BLOCK, queries)
        found.append((slice(start, stop), slice(0, stop + keys - queries if causal else keys)))
    return found


def blockwise(q: Any, k: Any, v: Any, causal: bool) -> Any:
    """Attention whose scores exist for one block of queries at a time (and, of causal attention,
    only for the keys that the block sees): memory in proportion to the number of keys."""
    parts = []
    for rows, seen in blocks(q, k, causal):
        p = _probabilities(q[..., rows, :], k[..., seen, :], causal)
        parts.append(matmul(p, v[..., seen, :]))
    return concatenate(parts, -2) if len(parts) > 1 else parts[0]


def _blockwise_vjp(g: Any, q: Any, k: Any, v: Any, causal: bool) -> list[Any]:
    """The cotangents, block by block, from probabilities that are computed anew."""
    dq, dk, dv = [], None, None
    for rows, seen in blocks(q, k, causal):
        some, keys = q[..., rows, :], k[..., seen, :]
        p = _probabilities(some, again(keys), causal)
        part = _cotangents(g[..., rows, :], some, keys, v[..., seen, :], p)
        dq.append(part[0])
        dk, dv = _plus(dk, part[1]), _plus(dv, part[2])
    return [concatenate(dq, -2), _filled(dk, np.shape(k)), _filled(dv, np.shape(v))]


def _plus(total: Any, part: Any) -> Any:
    """Add what concerns more keys to what concerns the first ones."""
    if total is None:
        return part
    return add(_filled(total, np.shape(part)), part)


def _filled(x: Any, shape: tuple[int, ...]) -> Any:
    missing = shape[-2] - np.shape(x)[-2]
    if not missing:
        return x
    zeros = backend_of(x).zeros((*shape[:-2], missing, shape[-1]), x.dtype)
    return concatenate([x, zeros], -2)


def _attention_vjp(
    _needs: Any, g: Any, z: Any, saved: Any, q: Any, k: Any, v: Any, causal: bool
) -> list[Any]:
    """``dS = P (dP - <dP, P>) / sqrt(d)``, ``dQ = dS K``, ``dK = dS^T Q``, ``dV = P^T g``."""
    if saved is None and has_tiles(q, k, v, causal) and isinstance(g, Tensor):
        # The first is that of the forward pass: a program finds what is computed twice.
        log_sums = tiled_attention(q, k, v, causal=causal)[1]
        return list(tiled_attention_back(q, k, v, z, g, log_sums, causal=causal))
    if saved is None and len(blocks(q, k, causal)) > 1:
        return _blockwise_vjp(g, q, k, v, causal)
    return _cotangents(g, q, k, v, _probabilities(q, k, causal) if saved is None else saved)


def _cotangents(g: Any, q: Any, k: Any, v: Any, p: Any) -> list[Any]:
    dp = matmul(g, matrix_transpose(v))
    ds = multiply(p, subtract(dp, reduction.sum(multiply(dp, p), -1, True)))
    ds = multiply(ds, 1.0 / math.sqrt(np.shape(q)[-1]))
    return [
        matmul(ds, k),
        matmul(matrix_transpose(ds), q),
        matmul(matrix_transpose(p), g),
    ]


def _attention_jvp(
    ts: Sequence[Any], _z: Any, saved: Any, q: Any, k: Any, v: Any, causal: bool
) -> Any:
    """``dS = (dQ K^T + Q dK^T) / sqrt(d)``, ``dP = P (dS - <dS, P>)``, ``dZ = dP V + P dV``."""
    p = _probabilities(q, k, causal) if saved is None else saved
    dq, dk, dv = ts
    parts = []
    if dq is not None:
        parts.append(matmul(dq, matrix_transpose(k)))
    if dk is not None:
        parts.append(matmul(q, matrix_transpose(dk)))
    if parts:
        ds = multiply(reduce(add, parts), 1.0 / math.sqrt(np.shape(q)[-1]))
        dp = multiply(p, subtract(ds, reduction.sum(multiply(ds, p), -1, True)))
        parts = [matmul(dp, v)]
    if dv is not None:
        parts.append(matmul(p, dv))
    return reduce(add, parts)


_attention_primitive = Primitive(
    "attention",
    in_single(_attention),
    lambda q, _k, v, *, causal: (*q[:-1], v[-1]),
    joint=_attention_vjp,
    joint_jvp=_attention_jvp,
    saves=True,
)


def attention(q: Any, k: Any, v: Any, causal: bool = False) -> Any:
    """``softmax(Q K^T / sqrt(d)) V``.

    Parameters
    ----------
    q : array, shape (..., queries, d)
    k : array, shape (..., keys, d)
    v : array, shape (..., keys, e)
    causal : bool
        A query sees only keys up to its own place.

    Returns
    -------
    array, shape (..., queries, e)
    """
    return _attention_primitive(q, k, v, causal=causal)
