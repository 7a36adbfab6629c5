"""Studies with known parameters and known noise, one of each law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcad.scaling.laws.fit import Fit, fit
from hpcad.scaling.laws.messages import OVERLAP, RING, TREE
from hpcad.scaling.laws.models import AMDAHL, GUSTAFSON, USL, Model
from hpcad.scaling.laws.points import Conditions, Points


@dataclass(frozen=True)
class Study:
    """A law, its true parameters, where it is measured, and where it is predicted."""

    model: Model
    truth: tuple[float, ...]
    measured: Conditions
    beyond: Conditions
    noise: float = 0.02

    def draw(self, random: np.random.Generator) -> Points:
        at = self.measured
        exact = self.model.seconds(at, *self.truth)
        times = exact * np.exp(self.noise * random.standard_normal(exact.shape))
        return Points(at.ranks, times, at.size, at.message_bytes)

    def coverage(self, trials: int, seed: list[int]) -> dict[str, float]:
        """How often the intervals of each parameter, and of a prediction, hold the truth."""
        random = np.random.default_rng(seed)
        names = [*self.model.names, "prediction"]
        held = np.zeros(len(names))
        for _ in range(trials):
            found: Fit = fit(self.model, self.draw(random))
            (predicted,) = found.predict(self.beyond)
            new = self.model.seconds(self.beyond, *self.truth).item()
            new *= np.exp(self.noise * random.standard_normal())
            held += [
                *(t in found.parameters[n] for n, t in zip(names[:-1], self.truth, strict=True)),
                new in predicted,
            ]
        return dict(zip(names, held / trials, strict=True))


def powers(most: int, repetitions: int, least: int = 1) -> np.ndarray:
    """1, 2, 4, ... ranks, each several times."""
    exponents = np.arange(np.log2(least), np.log2(most) + 0.5)
    return np.repeat(2.0**exponents, repetitions)


def messages() -> Conditions:
    ranks, sent = np.meshgrid([2.0, 4.0, 8.0, 16.0], [1e3, 1e5, 1e7])
    return Conditions(np.repeat(ranks.ravel(), 2), 1.0, np.repeat(sent.ravel(), 2))


def weak(most: int, repetitions: int) -> Conditions:
    return Conditions(powers(most, repetitions), powers(most, repetitions))


STRONG = powers(64, 3)
LINKS = (5e-6, 1e10)

STUDIES = {
    "amdahl": Study(AMDAHL, (1.2, 0.05), Conditions(STRONG), Conditions([256.0])),
    "gustafson": Study(GUSTAFSON, (0.3, 0.1), weak(64, 3), Conditions([256.0], 256.0)),
    "usl": Study(USL, (1.2, 0.03, 2e-4), Conditions(STRONG), Conditions([256.0])),
    "ring": Study(RING, LINKS, messages(), Conditions([64.0], 1.0, 1e8)),
    "tree": Study(TREE, LINKS, messages(), Conditions([64.0], 1.0, 1e8)),
    "overlap": Study(
        OVERLAP,
        (1.0, 2e-4, 2e9, 0.4),
        Conditions(powers(128, 5), 1.0, 1e8),
        Conditions([256.0], 1.0, 1e8),
    ),
}
