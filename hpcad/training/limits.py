"""What bounds a run from outside: when its job ends, and how often it may start in vain."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from hpcad.errors import ConfigError
from hpcad.parallel.launcher import batch_job

END_TIME = "HPCAD_END_TIME"  # of a user or a script, for any launcher
SLURM_END_TIME = "SLURM_JOB_END_TIME"  # of newer versions of Slurm

_UNATTENDED_TRIES = 3
_STEPS = 3  # that the run may still take, beside saving, when it is told to stop
_SAVES = 2  # the last one, and the one that may be under way


@dataclass(frozen=True)
class Limits:
    """Bounds of a run that are not its length.

    Attributes
    ----------
    end : float or None
        When the job ends, in seconds since 1970 (UTC); None where nobody knows.
    margin : float
        Seconds before that at which the run is to be over.
    tries : int, "auto" or None
        How often a run may start at the same saved step; None is no bound. ``"auto"``: three
        times in a job of a batch system, which may start it again for ever, and without a bound
        elsewhere, where a person does.
    """

    end: float | None = None
    margin: float = 60.0
    tries: int | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ConfigError(f"margin must be a number of seconds from 0 on, not {self.margin}")
        if self.tries not in ("auto", None) and self.tries < 1:  # type: ignore[operator]  # an int
            raise ConfigError(
                f"tries must be at least 1, or 'auto', or None for no bound, not {self.tries}"
            )

    def most_starts(self, environ: Mapping[str, str]) -> int | None:
        """How often the run may start at the same saved step, in this environment."""
        if self.tries == "auto":
            return _UNATTENDED_TRIES if batch_job(environ) else None
        return self.tries


def end_of_job(environ: Mapping[str, str], now: float) -> float | None:
    """Return when the job ends, as the environment says it.

    Parameters
    ----------
    environ : mapping
        Normally ``os.environ``.
    now : float
        Seconds since 1970.

    Returns
    -------
    float or None
        Seconds since 1970; None where nothing says it, ``HPCAD_END_TIME`` is ``none``, or Slurm
        lets the job run on after its time.

    Raises
    ------
    ConfigError
        ``HPCAD_END_TIME`` is no such number, or has passed.
    """
    own = environ.get(END_TIME, "").strip()
    if own.lower() == "none":
        return None
    if own:
        return _own_end(own, now)
    try:
        end = float(environ.get(SLURM_END_TIME, ""))
    except ValueError:
        return None
    return end if now < end < math.inf else None


def _own_end(text: str, now: float) -> float:
    try:
        end = float(text)
    except ValueError:
        end = math.nan
    if not math.isfinite(end):
        raise ConfigError(
            f"{END_TIME}={text!r} is no time in seconds since 1970; set it to such a number, for "
            f"an hour from now {END_TIME}=$(($(date +%s) + 3600)), or to none"
        )
    if end <= now:
        raise ConfigError(
            f"{END_TIME}={text} was {now - end:.0f} s ago; set it where the job starts, not where "
            "it is submitted, or leave it away"
        )
    return end


class Deadline:
    """Tells whether a run can go on and still save in time.

    The clock is asked once; from then on the seconds are counted, whatever is done to the clock.

    Parameters
    ----------
    limits : Limits
    clock, wall : callable
        Return seconds: monotonic, and since 1970.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._margin = limits.margin
        self._at = math.inf if limits.end is None else clock() + (limits.end - wall())
        self._save = 0.0

    def note_save(self, seconds: float) -> None:
        """Tell how long a save took, from its call to the published checkpoint."""
        self._save = max(self._save, seconds)

    def too_near(self, ahead: float, step: float) -> bool:
        """Whether a run that is next asked in `ahead` seconds could then no longer save in time.

        Left is needed ``max(margin, 2 x longest save + 3 steps)`` at that moment.

        Parameters
        ----------
        ahead, step : float
            Seconds until the next question, and of a step.
        """
        if self._at == math.inf:
            return False
        needed = max(self._margin, _SAVES * self._save + _STEPS * step)
        return self._clock() + ahead + needed >= self._at
