"""RMSProp."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend import Array
from hpcad.nn.module import Module
from hpcad.optim.optimizer import Optimizer, Slots
from hpcad.optim.schedules import Schedule


class RMSProp(Optimizer):
    """``s = alpha s + (1 - alpha) g^2``, ``p = p - rate g / (sqrt(s) + eps)``.

    Tieleman and Hinton, Neural Networks for Machine Learning, lecture 6e, 2012.
    """

    slots = ("square",)

    def __init__(
        self,
        model: Module,
        learning_rate: float | Schedule,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        **options: Any,
    ) -> None:
        self.alpha, self.eps = alpha, eps
        super().__init__(model, learning_rate, **options)

    def numbers(self, rate: float) -> dict[str, float]:
        alpha = self.alpha
        return {**super().numbers(rate), "alpha": alpha, "rest": 1.0 - alpha, "eps": self.eps}

    def update(self, p: Array, g: Array, slots: Slots, now: Any) -> tuple[Array, Slots]:
        s = slots[0] * now.alpha + g * g * now.rest
        return p - g * now.rate / (np.sqrt(s) + now.eps), (s,)
