"""By how much the clocks of the ranks differ.

:func:`time.perf_counter` starts anywhere on each node. Two clocks are compared as NTP does, with
barriers in place of messages: no rank leaves a barrier before every rank has come to it. So if the
clock of rank r is ahead of rank 0's by d, every barrier says

    enter_r - leave_0 <= d <= leave_r - enter_0

and several barriers leave an interval for d that is as narrow as the quickest of them was.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from hpcad.parallel.communicator import Communicator


@dataclass(frozen=True)
class Clock:
    """This rank's clock against rank 0's.

    Attributes
    ----------
    origin : float
        Reading of this rank's :func:`time.perf_counter` at a moment that is common to all ranks.
    error : float
        How far from rank 0's the moment may be, in seconds; a bound, not an estimate.
    """

    origin: float
    error: float

    def since(self, reading: float) -> float:
        """Seconds from the common moment to a reading of this rank's clock."""
        return reading - self.origin


def align(communicator: Communicator, rounds: int = 20) -> Clock:
    """Compare the clocks of all ranks. Collective; takes as many barriers as ``rounds``."""
    mine = [_barrier(communicator) for _ in range(rounds)]
    everyone = communicator.gather_json(mine, "clocks")
    root = np.array(everyone[0])
    origin = float(root[-1, 1])
    if communicator.rank == 0:
        return Clock(origin, 0.0)
    ahead, error = difference(np.array(mine), root)
    return Clock(origin + ahead, error)


def difference(mine: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """How far one clock is ahead of another, and by how much that may be wrong.

    Parameters
    ----------
    mine, other : array, shape (barriers, 2)
        Each rank's readings when it entered and when it left the same barriers.
    """
    least = float((mine[:, 0] - other[:, 1]).max())
    most = float((mine[:, 1] - other[:, 0]).min())
    return (least + most) / 2, (most - least) / 2


def _barrier(communicator: Communicator) -> tuple[float, float]:
    enter = perf_counter()
    communicator.barrier("clocks")
    return enter, perf_counter()
