"""Losses, averaged over the samples at hand."""

from __future__ import annotations

from typing import Any

from hpcad.primitives import softmax
from hpcad.primitives.elementwise import square, subtract
from hpcad.primitives.reduction import mean


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean negative log-likelihood of integer labels, in nats.

    Parameters
    ----------
    logits : array, shape (..., classes)
    labels : integer array, shape (...)

    Returns
    -------
    scalar
    """
    return mean(softmax.cross_entropy(logits, labels))


def mean_squared_error(prediction: Any, target: Any) -> Any:
    """Mean of ``(prediction - target)^2`` over all elements."""
    return mean(square(subtract(prediction, target)))
