"""How much of the communication is hidden behind computation: measured in every run.

========  ==========================================================================================
number    meaning
========  ==========================================================================================
alone     the reductions of one step by themselves, one after another, with nothing to compute;
          measured before the first step
exposed   what a step is longer for them: the time the computing thread spends in starting
          reductions and looking after them, and in waiting at the end of the backward pass. Waiting
          for a slower rank is a part of it
hidden    alone less exposed, where that is positive; as a share of alone
========  ==========================================================================================
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from hpcad.parallel.communicator import Communicator
from hpcad.parallel.gradients.buckets import Bucket
from hpcad.parallel.gradients.trial import Reducer

_KEPT = 1024  # steps
_ALONE_SECONDS = 0.3  # for measuring
_TRIES = 3
_NAME = "communication alone"


@dataclass(frozen=True)
class Overlap:
    """Seconds of communication in a typical step; the mean over the ranks.

    Attributes
    ----------
    alone, exposed : float
        See the table above; ``exposed`` is the median over the last steps.
    waited : float
        The part of ``exposed`` at the end of the backward pass.
    steps : int
        Steps measured.
    """

    alone: float
    exposed: float
    waited: float
    steps: int

    @property
    def hidden(self) -> float:
        """Seconds that cost nothing."""
        return max(0.0, self.alone - self.exposed)

    @property
    def share(self) -> float:
        """What part of the communication is hidden, from 0 to 1."""
        return self.hidden / self.alone if self.alone > 0 else 0.0

    def __str__(self) -> str:
        return (
            f"communication per step: {1e3 * self.alone:.2f} ms alone, {1e3 * self.hidden:.2f} ms "
            f"hidden behind the backward pass ({100 * self.share:.0f} %), "
            f"{1e3 * self.exposed:.2f} ms exposed (of which {1e3 * self.waited:.2f} ms waiting at "
            "its end)"
        )


class OverlapBook:
    """Keeps what the steps of one engine cost.

    Parameters
    ----------
    alone : float
        Seconds of one step's reductions by themselves.
    """

    def __init__(self, alone: float) -> None:
        self.alone = alone
        self._exposed = np.zeros(_KEPT)
        self._waited = np.zeros(_KEPT)
        self.steps = 0

    def step(self, calls: float, waited: float) -> None:
        """Note a step: seconds in calls during the backward pass, and at its end."""
        place = self.steps % _KEPT
        self._exposed[place], self._waited[place] = calls + waited, waited
        self.steps += 1

    def summary(self, communicator: Communicator) -> Overlap | None:
        """The typical step; None before the first. Collective."""
        kept = min(self.steps, _KEPT)
        own = (np.median(self._exposed[:kept]), np.median(self._waited[:kept])) if kept else (0, 0)
        numbers = np.array([self.alone, *own, self.steps])
        communicator.allreduce(numbers, "sum", "overlap")
        alone, exposed, waited, steps = (float(x) / communicator.size for x in numbers)
        return Overlap(alone, exposed, waited, round(steps)) if steps else None


def measure_alone(
    communicator: Communicator, buckets: list[Bucket], reducer: Reducer | None = None
) -> float:
    """Seconds of the buckets' reductions with nothing to hide behind; equal on every rank.

    Collective. The gradients are as before afterwards. Buckets are reduced in turn for about 0.3
    seconds, at least one; the others are taken to be as fast per byte.

    Parameters
    ----------
    buckets : list of Bucket
        In host memory.
    reducer : Reducer, optional
        What reduces them; the communicator when left out.
    """
    seconds, measured = np.zeros(1), 0
    for bucket in buckets:
        seconds[0] += _seconds_alone(communicator, bucket, reducer)
        communicator.allreduce(seconds, "max", _NAME)
        measured += bucket.nbytes
        if seconds[0] > _ALONE_SECONDS / _TRIES:
            break
    return float(seconds[0]) * sum(bucket.nbytes for bucket in buckets) / max(measured, 1)


def _seconds_alone(communicator: Communicator, bucket: Bucket, reducer: Reducer | None) -> float:
    gradients = bucket.gradients
    before = gradients.copy()
    best = float("inf")
    for _ in range(_TRIES):
        communicator.barrier(_NAME)
        started = time.perf_counter()
        if reducer is None:
            communicator.allreduce(gradients, "sum", _NAME)
        else:
            reducer.iallreduce(gradients, "sum", _NAME).wait()
        best = min(best, time.perf_counter() - started)
    gradients[...] = before
    return best
