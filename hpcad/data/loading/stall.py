"""How long training waited for data, and how fast the data came.

Accelerator utilisation (AU) is the figure of MLPerf Storage: the share of the time in which the
processor that trains had something to compute,

    AU = compute / (compute + wait).

Waiting for the first batch is start-up and stated apart, as MLPerf leaves out the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcad.parallel import Communicator


@dataclass
class Stall:
    """What one rank has measured; kept by its :class:`~hpcad.data.Loader`.

    Attributes
    ----------
    steps : int
        Batches handed out.
    first_wait, wait, longest_wait : float
        Seconds of waiting: for the first batch; for all others; the longest of those.
    compute : float
        Seconds between the batches: from when one was handed out until the next was asked for.
    nbytes : int
        Of the batches handed out.
    reading : float
        Seconds that threads have spent reading, together.
    reads, opens : int
        Requests to the operating system, and files opened.
    """

    steps: int = 0
    first_wait: float = 0.0
    wait: float = 0.0
    longest_wait: float = 0.0
    compute: float = 0.0
    nbytes: int = 0
    reading: float = 0.0
    reads: int = 0
    opens: int = 0

    def waited(self, seconds: float, nbytes: int) -> None:
        """Count one batch of `nbytes` that took `seconds` to come."""
        if self.steps == 0:
            self.first_wait = seconds
        else:
            self.wait += seconds
            self.longest_wait = max(self.longest_wait, seconds)
        self.steps += 1
        self.nbytes += nbytes

    @property
    def utilisation(self) -> float:
        """AU, from 0 to 1; 1 where nothing was measured."""
        whole = self.compute + self.wait
        return self.compute / whole if whole > 0 else 1.0

    @property
    def wait_per_step(self) -> float:
        """Seconds, over all batches but the first."""
        return self.wait / max(self.steps - 1, 1)

    @property
    def delivered(self) -> float:
        """Bytes per second that training took, waiting included."""
        return _rate(self.nbytes, self.first_wait + self.wait + self.compute)

    @property
    def read_rate(self) -> float:
        """Bytes per second of one reading thread: what the storage gave."""
        return _rate(self.nbytes, self.reading)

    def summary(
        self, communicator: Communicator | None = None, compute: float | None = None
    ) -> str:
        """Two lines about all ranks; collective if a communicator is given.

        Parameters
        ----------
        communicator : Communicator, optional
        compute : float, optional
            Seconds to take for :attr:`compute`, if the owner knows better which of the time
            between batches was training.

        Returns
        -------
        str
            The same on every rank.
        """
        mine = Stall(**asdict(self))
        if compute is not None:
            mine.compute = compute
        if communicator is None:
            return describe([mine])
        return describe([Stall(**each) for each in communicator.gather_json(asdict(mine))])


def describe(ranks: Sequence[Stall]) -> str:
    """The stalls of all ranks in two lines: minimum/median/maximum where ranks may differ."""
    whole = Stall(
        steps=max(each.steps for each in ranks),
        compute=sum(each.compute for each in ranks),
        wait=sum(each.wait for each in ranks),
    )
    waits = _spread([1e3 * each.wait_per_step for each in ranks])
    rates = _spread_rates([each.delivered for each in ranks])
    reads = _spread_rates([each.read_rate for each in ranks])
    first = max(each.first_wait for each in ranks)
    longest = max(each.longest_wait for each in ranks)
    return (
        f"data: waited {waits} ms a step (at most {1e3 * longest:.3g}, first batch "
        f"{1e3 * first:.3g}), accelerator utilisation {100 * whole.utilisation:.1f} %\n"
        f"data: {rates} per rank, read at {reads} per thread; "
        f"{sum(each.reads for each in ranks):,} reads, {sum(each.opens for each in ranks):,} opens"
    )


def as_json(stall: Stall) -> dict[str, Any]:
    """All numbers of one rank, the derived ones too."""
    names = ("utilisation", "wait_per_step", "delivered", "read_rate")
    return {**asdict(stall), **{name: getattr(stall, name) for name in names}}


def _spread(values: Sequence[float]) -> str:
    numbers = (min(values), median(values), max(values))
    if len(values) == 1:
        return f"{numbers[0]:.3g}"
    return "/".join(f"{number:.3g}" for number in numbers)


def _spread_rates(rates: Sequence[float]) -> str:
    """Bytes per second in GB/s; in MB/s where all are small."""
    unit, scale = ("GB/s", 1e9) if max(rates) >= 1e7 else ("MB/s", 1e6)
    return f"{_spread([rate / scale for rate in rates])} {unit}"


def _rate(nbytes: int, seconds: float) -> float:
    return nbytes / seconds if seconds > 0 else 0.0
