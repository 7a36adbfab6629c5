"""What a reduction costs here: a straight line through a few measured ones.

The model is Hockney's, t(n) = alpha + beta n (R. Hockney, "The communication challenge for MPP",
Parallel Computing 20 (1994) 389-398): alpha is the time of the shortest message, 1 / beta the
bandwidth that long ones reach. Both are measured once per communicator, when an engine first asks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from hpcad.parallel.communicator import Communicator

SIZES = (1 << 13, 1 << 16, 1 << 18, 1 << 20, 1 << 21)  # bytes
REPEATS = 3
_BUDGET_SECONDS = 0.25
_GROWTH = 4  # from one size to the next
_LEAST_ALPHA = 1e-7


@dataclass(frozen=True)
class Fit:
    """Cost of an allreduce of n bytes: ``alpha + beta * n`` seconds.

    Attributes
    ----------
    alpha : float
        Seconds; above 0.
    beta : float
        Seconds per byte; above 0.
    """

    alpha: float
    beta: float

    def seconds(self, nbytes: float) -> float:
        """Expected time of a reduction of so many bytes."""
        return self.alpha + self.beta * nbytes

    def bytes_at(self, latency_share: float) -> float:
        """Length of the message of whose time alpha takes the given share.

        From alpha / (alpha + beta n) = s follows n = (alpha / beta) (1 - s) / s.
        """
        return self.alpha / self.beta * (1.0 - latency_share) / latency_share

    def __str__(self) -> str:
        return f"{1e6 * self.alpha:.1f} us + {1e-6 / self.beta:,.0f} MB/s"


_fits: WeakKeyDictionary[Communicator, Fit] = WeakKeyDictionary()


def measured_fit(communicator: Communicator) -> Fit:
    """The fit of a communicator's reductions; measured at the first call, then remembered.

    Collective. The result is equal on every rank, to the bit. It takes less than 0.3 seconds,
    unless a reduction of 64 KB takes 0.03 or more.
    """
    if communicator not in _fits:
        _fits[communicator] = fit_line(*_measure(communicator))
    return _fits[communicator]


def fit_line(sizes: list[int], seconds: list[float]) -> Fit:
    """The line through measured times that has the least sum of squared relative errors.

    Parameters
    ----------
    sizes : list of int
        Bytes; at least two different ones.
    seconds : list of float
        Above 0.

    Notes
    -----
    Minimises sum_i ((alpha + beta n_i) / t_i - 1)^2 by its normal equations: times span four
    decades, and the short ones decide alpha. Plain arithmetic, so that equal times give equal
    bits on any processor.
    """
    a = b = c = p = q = 0.0
    for n, t in zip(sizes, seconds, strict=True):
        a += 1.0 / t**2
        b += n / t**2
        c += n * n / t**2
        p += 1.0 / t
        q += n / t
    determinant = a * c - b * b
    alpha, beta = (p * c - q * b) / determinant, (a * q - b * p) / determinant
    if beta <= 0:  # noise was larger than what the longer message cost
        beta = seconds[-1] / sizes[-1]
    if alpha <= 0:
        alpha = min(_LEAST_ALPHA, seconds[0])
    return Fit(alpha, beta)


def _measure(communicator: Communicator) -> tuple[list[int], list[float]]:
    """Sizes, and the time of the slowest rank at each: the best of a few tries."""
    memory = communicator.allocate(SIZES[-1]).view(np.float32)
    sizes: list[int] = []
    seconds: list[float] = []
    spent = 0.0
    for nbytes in SIZES:
        times = _times(communicator, memory[: nbytes // 4])
        sizes.append(nbytes)
        seconds.append(float(times.min()))
        spent += float(times.sum())
        if len(sizes) > 1 and spent + _GROWTH * (REPEATS + 1) * seconds[-1] > _BUDGET_SECONDS:
            break
    return sizes, seconds


def _times(communicator: Communicator, array: np.ndarray) -> np.ndarray:
    times = np.empty(REPEATS + 1)
    for i in range(len(times)):
        started = time.perf_counter()
        communicator.allreduce(array, "sum", "measuring the network")
        times[i] = time.perf_counter() - started
    communicator.allreduce(times, "max", "measuring the network")
    return times[1:]  # the first one opens connections and touches pages
