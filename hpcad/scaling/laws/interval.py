"""An estimate and the interval around it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A number, and between what it lies.

    Attributes
    ----------
    value : float
        The best estimate.
    low, high : float
        Infinite, 0, or where the quantity ends, when the measurements do not bound it there.
    level : float
        How often intervals made like this one hold the truth; 0.95 if not asked otherwise.
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"
