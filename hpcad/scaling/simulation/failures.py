"""What checkpoints and failures add to a run.

Failures come at random, one every M seconds on the average: the MTBF of a node over the number of
nodes. Every ``interval`` seconds of training a checkpoint stalls the ranks for C seconds; after a
failure the job needs R seconds to be back where its newest checkpoint was. The run then takes
``M exp(R / M) (exp((interval + C) / M) - 1) / interval`` times that of its training alone, also
where a restart fails (Daly 2006, Future Gener. Comput. Syst. 22, 303;
doi:10.1016/j.future.2004.11.016). The best interval is close to ``sqrt(2 C M) - C`` (Daly; without
the last term Young 1974, doi:10.1145/361147.361115). A checkpoint that is written in the background
counts only once it is written: a failure before that loses what was trained meanwhile as well,
W / M more for W seconds of writing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Interruptions:
    """What a machine does to a run of training.

    Attributes
    ----------
    mtbf : float
        Seconds between failures of the whole job; infinite: none.
    stall : float
        Seconds that a checkpoint stops training.
    writing : float
        Seconds until it can be restored from, in the background.
    restart : float
    """

    mtbf: float
    stall: float
    writing: float = 0.0
    restart: float = 0.0

    def best_interval(self) -> float:
        """Seconds of training between checkpoints; infinite where nothing fails."""
        if self.mtbf == math.inf:
            return math.inf
        if self.stall >= self.mtbf / 2:
            return self.mtbf
        best = math.sqrt(2 * max(self.stall, 1e-9) * self.mtbf) - self.stall
        return max(best, self.writing, 1e-3)  # the next one begins when this one is written

    def overheads(self, interval: float) -> tuple[float, float]:
        """Shares of the training time that checkpoints and failures add.

        Returns
        -------
        checkpoints, failures : float
            Infinite, where the job fails sooner than it gets on.
        """
        checkpoints = 0.0 if interval == math.inf else self.stall / interval
        if self.mtbf == math.inf:
            return checkpoints, 0.0
        exponent = (interval + self.stall) / self.mtbf
        if exponent + self.restart / self.mtbf > 500:
            return checkpoints, math.inf
        factor = self.mtbf * math.exp(self.restart / self.mtbf) * math.expm1(exponent) / interval
        return checkpoints, factor - 1 - checkpoints + self.writing / self.mtbf
