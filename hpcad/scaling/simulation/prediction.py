"""What is asked of a simulation, and what it answers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpcad.scaling.simulation.workload import Workload

DRAWS = 400


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes
    ----------
    sweep : {"weak", "strong"}
        Whether ``batch`` samples are those of a rank, or those of all ranks together.
    batch : float or None
        None: weak scaling with the workload's own batch.
    bucket_bytes : (float, float) or None
        First bucket and others; None: as the workload says, or where that says nothing, as
        hpcad would choose them on this machine.
    background : bool
        Whether training goes on while a checkpoint is written.
    interval : float or None
        Seconds between checkpoints; None: the best.
    draws, seed : int
        Steps whose slowest rank is drawn.
    """

    sweep: Literal["weak", "strong"] = "weak"
    batch: float | None = None
    bucket_bytes: tuple[float, float] | None = None
    background: bool = True
    interval: float | None = None
    draws: int = DRAWS
    seed: int = 0

    def samples(self, workload: Workload, ranks: int) -> float:
        """Samples of a rank."""
        batch = workload.batch if self.batch is None else self.batch
        return batch / ranks if self.sweep == "strong" else batch


@dataclass(frozen=True)
class Prediction:
    """A step at so many ranks; all times in seconds.

    ``step = compute + exposed + imbalance + data_wait``; and ``effective = step + checkpoints +
    failures`` is what a step takes on the average of a long run.

    Attributes
    ----------
    ranks, nodes : int
    samples : float
        Of a rank.
    step : float
        Mean over the steps that were drawn.
    step_p95 : float
    compute : float
        Of a rank that nothing slows down.
    exposed : float
        Communication that hides behind nothing.
    hidden : float
        Communication that does; in no sum.
    imbalance : float
        What the slowest rank adds.
    data_wait : float
    checkpoints, failures : float
    interval : float
        Between checkpoints.
    messages : int
    efficiency : float
        Samples per second and rank, against one rank.
    algorithm : str
        Of the longest message.
    """

    ranks: int
    nodes: int
    samples: float
    step: float
    step_p95: float
    compute: float
    exposed: float
    hidden: float
    imbalance: float
    data_wait: float
    checkpoints: float
    failures: float
    interval: float
    messages: int
    algorithm: str
    efficiency: float = math.nan

    @property
    def effective(self) -> float:
        return self.step + self.checkpoints + self.failures

    @property
    def rate(self) -> float:
        """Samples per second, of all ranks together."""
        return self.ranks * self.samples / self.step

    @property
    def dominant(self) -> str:
        """The largest term of the effective step."""
        terms = {
            "compute": self.compute,
            "exposed communication": self.exposed,
            "imbalance": self.imbalance,
            "data wait": self.data_wait,
            "checkpoints": self.checkpoints,
            "failures": self.failures,
        }
        return max(terms, key=lambda name: terms[name])

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; what is infinite is None."""
        found = asdict(self) | {
            "effective": self.effective, "rate": self.rate, "dominant": self.dominant,
        }  # fmt: skip
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in found.items()
        }
