"""Composite primitives as their parts, in whose terms their derivative rules compute, too.

What the backward pass asks for again is then the same instruction as in the forward pass, found
once, and the elementwise parts can be fused with their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of
from hpcad.backend.half import is_real
from hpcad.primitives import convolution, extremes, layout, product, reduction
from hpcad.primitives.activations import _GELU_CUBIC, _GELU_SCALE
from hpcad.primitives.attention import blockwise
from hpcad.primitives.elementwise import (
    add,
    divide,
    equal,
    exp,
    log,
    multiply,
    subtract,
    tanh,
    where,
)
from hpcad.primitives.indexing import getitem
from hpcad.primitives.normalization import _normalised
from hpcad.primitives.pooling import max_pool_parts
from hpcad.primitives.softmax import _wide, in_range
from hpcad.primitives.streamed_loss import is_streamed, streamed_loss
from hpcad.primitives.tiled_attention import has_tiles, tiled_attention


def _linear(x: Any, w: Any, b: Any, *, dtype: Any = None) -> Any:
    x, w, b = (product.in_type(a, dtype) for a in (x, w, b))
    y = product.matmul_primitive(product._flat(x), w)
    if b is not None:
        y = add(y, b)
    return layout.reshape(y, (*x.shape[:-1], w.shape[1]))


def _conv(x: Any, w: Any, b: Any = None, *, dtype: Any = None, **params: Any) -> Any:
    if dtype is None:
        return NotImplemented
    x, w, b = (product.in_type(a, dtype) for a in (x, w, b))
    return convolution.conv(x, w, b, **params)


def _softmax(x: Any) -> Any:
    e = exp(subtract(x, extremes.max(x, -1, True)))
    return divide(e, reduction.sum(e, -1, True))


def _logsumexp(x: Any) -> Any:
    if x.shape[-1] == 0 or not is_real(x.dtype):
        return NotImplemented
    top = extremes.max(x, -1, True)
    top = where(equal(subtract(top, top), 0), top, 0)  # inf - inf would be NaN
    total = reduction.sum(exp(subtract(x, top)), -1)
    return add(log(total), layout.reshape(top, x.shape[:-1]))


def _cross_entropy(logits: Any, labels: Any) -> Any:
    if not is_real(logits.dtype) or getattr(labels, "shape", None) != logits.shape[:-1]:
        return NotImplemented
    labels = in_range(labels, classes=logits.shape[-1])
    if is_streamed(logits, labels):
        return streamed_loss(logits, labels)[0]
    logits = _wide(logits)
    shifted = subtract(logits, extremes.max(logits, -1, True))
    total = reduction.sum(exp(shifted), -1)
    classes = backend_of(value_of(logits)).xp.arange(logits.shape[-1])
    chosen = equal(classes, layout.expand_dims(labels, -1))
    return subtract(log(total), reduction.sum(where(chosen, shifted, 0), -1))


def _gelu_tanh(x: Any) -> Any:
    inner = add(multiply(multiply(x, x), _GELU_SCALE * _GELU_CUBIC), _GELU_SCALE)
    return tanh(multiply(inner, x))


def _gelu(x: Any) -> Any:
    return multiply(multiply(add(_gelu_tanh(x), 1), x), 0.5)


def _gelu_slope(x: Any) -> Any:
    t = _gelu_tanh(x)
    slope = add(multiply(multiply(x, x), 3 * _GELU_SCALE * _GELU_CUBIC), _GELU_SCALE)
    slope = multiply(multiply(slope, x), subtract(1, multiply(t, t)))
    return multiply(add(add(slope, t), 1), 0.5)


def _layer_norm(x: Any, scale: Any, shift: Any, *, eps: float) -> Any:
    y = multiply(_normalised(x, eps)[0], scale)
    return y if shift is None else add(y, shift)


def _attention(q: Any, k: Any, v: Any, *, causal: bool) -> Any:
    if causal and q.shape[-2] > k.shape[-2]:
        return NotImplemented  # the primitive says what is wrong
    if has_tiles(q, k, v, causal):
        return tiled_attention(q, k, v, causal=causal)[0]
    return blockwise(q, k, v, causal)


def _max_pool(x: Any, *, size: int) -> Any:
    return max_pool_parts(x, size=size)[0]


def _floating(expand: Callable[..., Any]) -> Callable[..., Any]:
    """Only of floating-point arguments: others are converted by the value."""

    def of(x: Any, *args: Any, **params: Any) -> Any:
        return expand(x, *args, **params) if is_real(x.dtype) else NotImplemented

    return of


def _unstack(x: Any, *, axis: int, shape: Any) -> Any:
    lead = (slice(None),) * axis
    return tuple(getitem(x, (*lead, i)) for i in range(shape[axis]))


def _split(x: Any, *, sizes: tuple[int, ...], axis: int) -> Any:
    lead, parts, start = (slice(None),) * axis, [], 0
    for size in sizes:
        parts.append(getitem(x, (*lead, slice(start, start + size))))
        start += size
    return tuple(parts)


def _square(x: Any) -> Any:
    return multiply(x, x) if x.dtype.kind != "b" else NotImplemented  # numbers, squared


EXPANSIONS: dict[str, Callable[..., Any]] = {
    "attention": _attention,
    "conv": _conv,
    "cross_entropy": _cross_entropy,
    "gelu": _floating(_gelu),
    "gelu_slope": _floating(_gelu_slope),
    "layer_norm": _floating(_layer_norm),
    "linear": _linear,
    "logsumexp": _logsumexp,
    "max_pool": _max_pool,
    "softmax": _floating(_softmax),
    "split": _split,
    "square": _square,
    "unstack": _unstack,
}
