"""What every classifier shares: its loss, and what is counted in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff import no_grad
from hpcad.nn import Module, cross_entropy
from hpcad.primitives.comparison import equal
from hpcad.primitives.ordering import argmax
from hpcad.primitives.reduction import sum


class Classifier(Module):
    """A model from ``x`` to logits over classes, the labels being ``y``.

    Labels may have more axes than the batch (one per token): each counts as one prediction.
    """

    def loss(self, batch: Any) -> Any:
        """Mean cross-entropy over the batch, in nats."""
        return cross_entropy(self(batch["x"]), batch["y"])

    def evaluate(self, batch: Any) -> dict[str, Any]:
        """Sums over the batch: ``loss`` (nats), ``accuracy`` (correct), ``count``.

        The trainer adds them over batches and ranks and divides by ``count``. All but the count are
        arrays of shape (), where the model computes; nothing waits for them here.
        """
        with no_grad():
            logits, labels = self(batch["x"]), batch["y"]
            losses = cross_entropy(logits, labels, "none")
            correct = equal(argmax(logits, axis=-1), labels)
            return {
                "loss": sum(losses, dtype=np.float64),
                "accuracy": sum(correct),
                "count": labels.size,
            }
