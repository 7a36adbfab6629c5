"""Losses, averaged over the samples at hand or one for each; float32 of half precision."""

from __future__ import annotations

from typing import Any

from hpcad.errors import ConfigError
from hpcad.nn.precision import in_single
from hpcad.primitives import softmax
from hpcad.primitives.elementwise import square, subtract
from hpcad.primitives.reduction import mean


def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Any:
    """Negative log-likelihood of integer labels, in nats.

    Parameters
    ----------
    logits : array, shape (..., classes)
    labels : integer array, shape (...)
    reduction : {"mean", "none"}
        ``"none"`` for one loss per label, such as :func:`hpcad.parallel.mean` takes.

    Returns
    -------
    scalar, or array of shape (...)
    """
    return _reduced(softmax.cross_entropy(logits, labels), reduction)


def mean_squared_error(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """Mean of ``(prediction - target)^2`` over all elements; all of them with ``"none"``."""
    return _reduced(square(subtract(in_single(prediction), in_single(target))), reduction)


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction not in ("mean", "none"):
        raise ConfigError(f"the reduction of a loss is 'mean' or 'none', not {reduction!r}")
    return mean(losses) if reduction == "mean" else losses
