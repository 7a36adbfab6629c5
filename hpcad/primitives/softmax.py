"""Softmax, log-sum-exp and cross-entropy, computed without overflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import backend_of
from hpcad.backend.half import is_half
from hpcad.errors import ShapeError
from hpcad.primitives import reduction
from hpcad.primitives.elementwise import cast, floating, multiply, subtract
from hpcad.primitives.layout import expand_dims
from hpcad.primitives.precision import in_single, widened
from hpcad.primitives.shapes import as_array, same
from hpcad.primitives.streamed_loss import is_streamed, streamed_loss, streamed_loss_back


def _softmax(x: Any) -> Any:
    x = floating(x)
    e = x - x.max(axis=-1, keepdims=True)
    np.exp(e, out=e)
    e /= e.sum(axis=-1, keepdims=True)
    return e


def _softmax_vjp(g: Any, y: Any, _x: Any) -> Any:
    """``y (g - <g, y>)``."""
    return multiply(y, subtract(g, reduction.sum(multiply(g, y), -1, True)))


_softmax_primitive = Primitive("softmax", in_single(_softmax), same, [_softmax_vjp], jvp="same")


def softmax(x: Any) -> Any:
    """``exp(x) / sum exp(x)`` over the last axis."""
    return _softmax_primitive(x)


def _logsumexp(x: Any) -> Any:
    x = floating(x)
    top = reduction.highest(x, -1, -np.inf)
    top = np.where(np.isfinite(top), top, top.dtype.type(0))  # inf - inf would be NaN
    e = x - top[..., None]
    np.exp(e, out=e)
    with np.errstate(divide="ignore"):  # nothing but -inf: so is the logarithm
        return np.log(e.sum(axis=-1)) + top


logsumexp = Primitive(
    "logsumexp",  # over the last axis
    in_single(_logsumexp),
    lambda x: x[:-1],
    [lambda g, _z, x: multiply(expand_dims(g, -1), softmax(x))],
    jvp=[lambda t, _z, x: reduction.sum(multiply(t, softmax(x)), -1)],
)


def log_softmax(x: Any) -> Any:
    """``x - log sum exp(x)`` over the last axis."""
    x = as_array(x)
    if is_half(x.dtype):
        return cast(log_softmax(cast(x, dtype=np.float32)), dtype=x.dtype)
    return subtract(x, expand_dims(logsumexp(x), -1))


# -- cross-entropy with integer labels ------------------------------------------------------


def _check_labels(logits: Any, labels: Any) -> None:
    if not hasattr(labels, "dtype"):
        raise ShapeError(f"cross_entropy: labels must be an array, not a {type(labels).__name__}")
    if labels.shape != logits.shape[:-1]:
        raise ShapeError(
            f"cross_entropy: logits of shape {tuple(logits.shape)} need labels of shape "
            f"{tuple(logits.shape[:-1])}, not {tuple(labels.shape)}"
        )
    _in_range(labels, classes=logits.shape[-1])


def _in_range(labels: Any, *, classes: int) -> Any:
    if labels.dtype.kind not in "iu":
        raise ShapeError(f"cross_entropy: labels must be integers, not {labels.dtype}")
    if labels.size and _is_outside(labels, classes):
        raise ShapeError(
            f"cross_entropy: labels from {labels.min()} to {labels.max()} do not fit "
            f"{classes} classes, which count from 0"
        )
    return labels


def _is_outside(labels: Any, classes: int) -> bool:
    if backend_of(labels).on_device:  # which is read once, and not twice
        return bool(((labels < 0) | (labels >= classes)).any())
    return labels.min() < 0 or labels.max() >= classes


in_range = Primitive("in_range", _in_range, same, constant=True)  # the labels, if they are


def _cross_entropy(logits: Any, labels: Any) -> tuple[Any, Any]:
    """Losses, and the softmax as residual."""
    logits = widened(floating(logits))
    _check_labels(logits, labels)
    index = labels[..., None].astype(np.intp)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    picked = np.take_along_axis(shifted, index, axis=-1)[..., 0]
    np.exp(shifted, out=shifted)
    total = shifted.sum(axis=-1, keepdims=True)
    shifted /= total
    return np.log(total)[..., 0] - picked, shifted


def _one_hot(labels: Any, classes: int, dtype: Any) -> Any:
    xp = backend_of(labels).xp
    return (xp.arange(classes) == labels[..., None]).astype(dtype)


def _wide(logits: Any) -> Any:
    return cast(logits, dtype=np.float32) if is_half(logits.dtype) else logits


def _error(saved: Any, logits: Any, labels: Any) -> Any:
    """``softmax(logits) - one_hot(labels)``, the gradient of the loss of each sample."""
    p = softmax(_wide(logits)) if saved is None else saved
    return subtract(p, _one_hot(labels, np.shape(p)[-1], p.dtype))


def _cross_entropy_vjp(
    _needs: tuple[bool, ...], g: Any, _z: Any, saved: Any, _logits: Any, labels: Any
) -> list[Any]:
    """``(softmax(logits) - one_hot(labels)) g``."""
    if saved is not None and isinstance(g, np.ndarray):
        return [_cross_entropy_vjp_in_place(g, saved, labels), None]
    if saved is None and is_streamed(_logits, labels, g):
        # The first is that of the forward pass: a program finds what is computed twice.
        labels = in_range(labels, classes=np.shape(_logits)[-1])
        log_sums = streamed_loss(_logits, labels)[1]
        return [streamed_loss_back(_logits, labels, log_sums, g), None]
    return [multiply(_error(saved, _logits, labels), expand_dims(g, -1)), None]


def _cross_entropy_jvp(ts: Sequence[Any], _z: Any, saved: Any, _logits: Any, labels: Any) -> Any:
    return reduction.sum(multiply(ts[0], _error(saved, _logits, labels)), -1)


def _cross_entropy_vjp_in_place(g: Any, p: Any, labels: Any) -> Any:
    """The same on plain arrays, with one temporary and no one-hot array."""
    dx = p * g[..., None]
    index = labels[..., None].astype(np.intp)
    picked = np.take_along_axis(dx, index, axis=-1) - g[..., None]
    np.put_along_axis(dx, index, picked, axis=-1)
    return dx


_cross_entropy_primitive = Primitive(
    "cross_entropy",
    _cross_entropy,
    lambda logits, labels: labels,
    joint=_cross_entropy_vjp,
    joint_jvp=_cross_entropy_jvp,
    saves=True,
)


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Negative log-likelihood of integer labels, one per sample (not averaged).

    Parameters
    ----------
    logits : array, shape (..., classes)
        Differentiable.
    labels : integer array, shape (...)

    Returns
    -------
    array, shape (...)
        ``log sum exp(logits) - logits[label]``, in nats; float32 of logits in half precision.
    """
    return _cross_entropy_primitive(as_array(logits), labels)
