"""What every classifier shares: its loss, and what is counted in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend import backend_of
from hpcad.nn import Module, cross_entropy
from hpcad.primitives import softmax


class Classifier(Module):
    """A model from ``x`` to logits over classes, the labels being ``y``.

    Labels may have more axes than the batch (one per token): each counts as one prediction.
    """

    def loss(self, batch: Any) -> Any:
        """Mean cross-entropy over the batch, in nats."""
        return cross_entropy(self(batch["x"]), batch["y"])

    def evaluate(self, batch: Any) -> dict[str, float]:
        """Sums over the batch: ``loss`` (nats), ``accuracy`` (correct), ``count``.

        The trainer adds them over batches and ranks and divides by ``count``.
        """
        logits, labels = self(batch["x"]), batch["y"]
        values = logits.value if hasattr(logits, "value") else logits
        losses = softmax.cross_entropy(values, labels)
        correct = values.argmax(axis=-1) == labels
        return {
            "loss": float(backend_of(losses).to_host(losses).sum(dtype=np.float64)),
            "accuracy": float(correct.sum()),
            "count": float(labels.size),
        }
