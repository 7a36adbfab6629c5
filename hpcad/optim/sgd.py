"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from typing import Any

from hpcad.backend import Array
from hpcad.nn.module import Module
from hpcad.optim.optimizer import Optimizer, Slots
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

    def numbers(self, rate: float) -> dict[str, float]:
        return {**super().numbers(rate), "momentum": self.momentum}

    def update(self, p: Array, g: Array, slots: Slots, now: Any) -> tuple[Array, Slots]:
        if not slots:
            return p - g * now.rate, ()
        v = slots[0] * now.momentum + g
        step = g + v * now.momentum if self.nesterov else v
        return p - step * now.rate, (v,)
