"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend import Array
from hpcad.nn.module import Module
from hpcad.optim.optimizer import Optimizer
from hpcad.optim.schedules import Schedule


class SGD(Optimizer):
    """``v = momentum v + g + decay p``, ``p = p - rate v`` (Nesterov: ``g + momentum v``).

    Parameters
    ----------
    momentum : float
        0 for plain gradient descent, which keeps no state.
    nesterov : bool
        Look ahead along the velocity (Sutskever et al., 2013).
    """

    def __init__(
        self,
        model: Module,
        learning_rate: float | Schedule,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        self.momentum, self.nesterov = momentum, nesterov
        self.slots = ("velocity",) if momentum else ()
        super().__init__(model, learning_rate, **options)

    def update(
        self, p: Array, g: Array, slots: list[Array], scratch: Array, rate: float, decay: float
    ) -> None:
        if decay:
            g += np.multiply(p, decay, out=scratch)
        if slots:
            (v,) = slots
            v *= self.momentum
            v += g
            if self.nesterov:
                g += np.multiply(v, self.momentum, out=scratch)
            else:
                g[...] = v
        g *= rate
        p -= g
