"""What was measured: step times at numbers of ranks, problem sizes and message sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.errors import DataError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Conditions:
    """Where a time was measured, or is to be predicted; arrays that broadcast.

    Attributes
    ----------
    ranks : array
        Number of ranks P, at least 1.
    size : array
        Problem size N: the work of one step, in any unit. Constant in strong scaling, proportional
        to the ranks in weak scaling.
    message_bytes : array or None
        Bytes n that each rank brings to the allreduce.
    """

    ranks: Any
    size: Any = 1.0
    message_bytes: Any = None

    def __post_init__(self) -> None:
        for name in ("ranks", "size", "message_bytes"):
            value = getattr(self, name)
            if value is not None:
                least = 1.0 if name == "ranks" else 0.0
                object.__setattr__(self, name, _numbers(value, name, least))


class Points(Conditions):
    """Measured times, one entry per repetition; repetitions are independent of each other.

    Parameters
    ----------
    ranks, size, message_bytes
        As in :class:`Conditions`; one number each, or one per time.
    seconds
        The times, for instance the median step of each repetition of a run. Steps of *one* run
        are not repetitions: what slows one of them (a noisy node, a placement) slows all.

    Raises
    ------
    DataError
        Something is not a positive number, or the lengths differ.
    """

    seconds: Array

    def __init__(self, ranks: Any, seconds: Any, size: Any = 1.0, message_bytes: Any = None):
        seconds = _numbers(seconds, "seconds", 0.0)
        if seconds.ndim != 1 or not len(seconds):
            raise DataError(
                f"seconds has the shape {seconds.shape}; give a list of times, one per repetition"
            )
        super().__init__(
            _as_long(ranks, "ranks", seconds),
            _as_long(size, "size", seconds),
            None if message_bytes is None else _as_long(message_bytes, "message_bytes", seconds),
        )
        object.__setattr__(self, "seconds", seconds)

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def settings(self) -> int:
        """How many different (ranks, size, message bytes) there are."""
        columns = [self.ranks, self.size]
        if self.message_bytes is not None:
            columns.append(self.message_bytes)
        return len(np.unique(np.stack(columns), axis=1).T)

    def where(self, chosen: Array) -> Points:
        """Some of the points, by a mask or indices."""
        sent = self.message_bytes
        return Points(
            self.ranks[chosen],
            self.seconds[chosen],
            self.size[chosen],
            None if sent is None else sent[chosen],
        )


def _as_long(value: Any, name: str, seconds: Array) -> Array:
    found = np.asarray(value)
    if found.shape not in ((), seconds.shape):
        raise DataError(
            f"{name} has the shape {found.shape}, but there are {len(seconds)} times; "
            f"give one number, or one per time"
        )
    return np.broadcast_to(found, seconds.shape)


def _numbers(value: Any, name: str, least: float) -> Array:
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} must be numbers, not {value!r}") from None
    wrong = ~(np.isfinite(found) & (found >= least) & (found > 0))
    if wrong.any():
        places = np.flatnonzero(wrong)
        bound = "at least 1" if least else "positive"
        raise DataError(
            f"{name} must be finite and {bound}, but entry {places[0]} is "
            f"{found.ravel()[places[0]]:g}; leave failed measurements out"
        )
    return found
