"""Learning-rate schedules: pure functions of the step, so a resume needs no state of theirs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """The same learning rate at every step, after ``warmup`` steps of linear growth."""

    learning_rate: float
    warmup: int = 0

    def __call__(self, step: int) -> float:
        return self.learning_rate * _warm(step, self.warmup)


@dataclass(frozen=True)
class WarmupCosine:
    """Linear growth over ``warmup`` steps, then half a cosine down to ``final``.

    Parameters
    ----------
    learning_rate : float
        The peak.
    steps : int
        Step at which ``final`` is reached; it stays there.
    warmup : int
    final : float

    Notes
    -----
    Loshchilov and Hutter, arXiv:1608.03983, without restarts.
    """

    learning_rate: float
    steps: int
    warmup: int = 0
    final: float = 0.0

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.learning_rate * _warm(step, self.warmup)
        share = _progress(step, self.warmup, self.steps)
        weight = 0.5 * (1.0 + math.cos(math.pi * share))
        return self.final + weight * (self.learning_rate - self.final)


@dataclass(frozen=True)
class WarmupLinear:
    """Linear growth over ``warmup`` steps, then a straight line down to ``final``."""

    learning_rate: float
    steps: int
    warmup: int = 0
    final: float = 0.0

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.learning_rate * _warm(step, self.warmup)
        share = _progress(step, self.warmup, self.steps)
        return self.learning_rate + share * (self.final - self.learning_rate)


def _warm(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / (warmup + 1))


def _progress(step: int, warmup: int, steps: int) -> float:
    return min(1.0, (step - warmup) / max(1, steps - warmup))
