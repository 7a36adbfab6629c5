"""Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.backend import Array
from hpcad.nn.module import Module
from hpcad.optim.optimizer import Optimizer, Slots
from hpcad.optim.schedules import Schedule


class Adam(Optimizer):
    """``p = p - rate m_hat / (sqrt(v_hat) + eps)``.

    With ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``, ``m_hat = m / (1 - b1^t)``,
    ``v_hat = v / (1 - b2^t)`` (Kingma and Ba, arXiv:1412.6980). Weight decay is added to the
    gradient; :class:`AdamW` takes it apart.

    Parameters
    ----------
    betas : pair of float
        b1, b2.
    eps : float
    """

    slots = ("m", "v")

    def __init__(
        self,
        model: Module,
        learning_rate: float | Schedule,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        **options: Any,
    ) -> None:
        self.betas, self.eps = betas, eps
        super().__init__(model, learning_rate, **options)

    def numbers(self, rate: float) -> dict[str, float]:
        (b1, b2), t = self.betas, self.step_count
        # Both bias corrections go into the rate and eps: no arithmetic on m or v for them.
        correction = math.sqrt(1.0 - b2**t)
        return {
            **super().numbers(rate),
            "b1": b1,
            "rest1": 1.0 - b1,
            "b2": b2,
            "rest2": 1.0 - b2,
            "corrected_eps": self.eps * correction,
            "corrected_rate": rate * correction / (1.0 - b1**t),
        }

    def update(self, p: Array, g: Array, slots: Slots, now: Any) -> tuple[Array, Slots]:
        m, v = slots
        m = m * now.b1 + g * now.rest1
        v = v * now.b2 + g * g * now.rest2
        return p - m / (np.sqrt(v) + now.corrected_eps) * now.corrected_rate, (m, v)


class AdamW(Adam):
    """Adam with decoupled weight decay ``p = p (1 - rate decay)`` (arXiv:1711.05101)."""

    def numbers(self, rate: float) -> dict[str, float]:
        return {**super().numbers(rate), "shrink": 1.0 - rate * self.weight_decay}

    def decay(self, p: Array, g: Array, now: Any) -> tuple[Array, Array]:
        return p * now.shrink, g
