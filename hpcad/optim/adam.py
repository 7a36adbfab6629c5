"""Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.backend import Array
from hpcad.nn.module import Module
from hpcad.optim.optimizer import Optimizer
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
    decoupled = False

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

    def update(
        self, p: Array, g: Array, slots: list[Array], scratch: Array, rate: float, decay: float
    ) -> None:
        (m, v), (b1, b2) = slots, self.betas
        if decay and self.decoupled:
            p *= 1.0 - rate * decay
        elif decay:
            g += np.multiply(p, decay, out=scratch)
        np.multiply(g, g, out=scratch)
        scratch *= 1.0 - b2
        v *= b2
        v += scratch
        g *= 1.0 - b1
        m *= b1
        m += g
        # Both bias corrections go into the rate and eps: no pass over m or v for them.
        correction = math.sqrt(1.0 - b2**self.step_count)
        np.sqrt(v, out=scratch)
        scratch += self.eps * correction
        np.divide(m, scratch, out=scratch)
        scratch *= rate * correction / (1.0 - b1**self.step_count)
        p -= scratch


class AdamW(Adam):
    """Adam with decoupled weight decay ``p = p (1 - rate decay)`` (arXiv:1711.05101)."""

    decoupled = True
