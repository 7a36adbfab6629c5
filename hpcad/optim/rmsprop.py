"""RMSProp."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend import Array
from hpcad.nn.module import Module
from hpcad.optim.optimizer import Optimizer
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

    def update(
        self, p: Array, g: Array, slots: list[Array], scratch: Array, rate: float, decay: float
    ) -> None:
        if decay:
            g += np.multiply(p, decay, out=scratch)
        (s,) = slots
        s *= self.alpha
        np.multiply(g, g, out=scratch)
        scratch *= 1.0 - self.alpha
        s += scratch
        np.sqrt(s, out=scratch)
        scratch += self.eps
        g *= rate
        g /= scratch
        p -= g
