"""Where the time of a training step goes: phases that always sum to the measured total.

Phases nest and each is charged its own time only: what an inner phase takes is not counted in the
outer one. Whatever no phase covers appears as the row "other", so the table cannot lose time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

#: Rows in the order of the table; other names follow in the order of their first use.
PHASES = (
    "data wait",
    "compilation",
    "forward",
    "backward",
    "exposed communication",
    "optimizer",
    "checkpoint",
    "evaluation",
)

Watch = Callable[[str, float, float], None]


class PhaseTimer:
    """Measure phases of a loop.

    Examples
    --------
    >>> phases = PhaseTimer()
    >>> for _ in range(3):
    ...     with phases("forward"):
    ...         pass
    ...     phases.step()
    >>> phases.steps
    3

    Parameters
    ----------
    clock
        Returns seconds; monotonic.
    watch : callable, optional
        Called with name, beginning and end of every passage through a phase, when it ends.

    Attributes
    ----------
    note : str
        Stands under the table: what its rows are not.
    """

    effect_kind = "host"  # in a program on a device it keeps books, and nothing else

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, watch: Watch | None = None
    ) -> None:
        self._clock, self._watch = clock, watch
        self._open: list[_Span] = []
        self.note = ""
        self.reset()

    def reset(self) -> None:
        """Forget everything and start the total anew, e.g. after warm-up. No phase may be open."""
        self._seconds: dict[str, float] = {}
        self._began = self._clock()
        self._ended: float | None = None
        self.steps = 0

    def __call__(self, name: str) -> _Span:
        """Return a context manager whose body is charged to phase `name`."""
        return _Span(self, name)

    def step(self) -> None:
        """Count one step, for the means."""
        self.steps += 1

    def stop(self) -> None:
        """End the total; without it the total runs until it is asked for."""
        self._ended = self._clock()

    def add(self, name: str, seconds: float) -> None:
        """Charge `seconds`, measured elsewhere, to `name`.

        They are taken from the phase that is open, if one is, as for a nested phase.
        """
        self._charge(name, seconds)
        if self._open:
            self._open[-1].inner += seconds

    def move(self, source: str, target: str, seconds: float) -> None:
        """Charge `seconds` to `target` instead of `source`; the total does not change.

        `source` may still be open: it is then credited with the rest when it closes.
        """
        self._charge(source, -seconds)
        self._charge(target, seconds)

    def turn(self, name: str) -> None:
        """Charge the phase that is open from here on to another name."""
        outer = self._open[-2] if len(self._open) > 1 else None
        self._open[-1].turn(name, outer)

    @property
    def total(self) -> float:
        """Seconds since the start (or `reset`), until `stop` or now."""
        return (self._clock() if self._ended is None else self._ended) - self._began

    def seconds(self) -> dict[str, float]:
        """Return phase -> seconds with the row "other" last; the values sum to `total`."""
        named = {name: self._seconds[name] for name in PHASES if name in self._seconds}
        named |= {name: value for name, value in self._seconds.items() if name not in PHASES}
        named.pop("other", None)
        named["other"] = self.total - sum(named.values())
        return named

    def table(self) -> str:
        """Return the phases as text: seconds, milliseconds per step and share of the total.

        The last row is the sum of the printed rows.
        """
        seconds = self.seconds()
        # Rounded first, so that the printed column adds up to its printed sum.
        per_step = {name: round(1e3 * s / max(self.steps, 1), 3) for name, s in seconds.items()}
        whole = sum(seconds.values()) or 1.0
        rows = [
            (name, f"{s:.3f}", f"{per_step[name]:.3f}", f"{100 * s / whole:.1f} %")
            for name, s in seconds.items()
        ]
        summed = sum(round(s, 3) for s in seconds.values())
        total = ("total", f"{summed:.3f}", f"{sum(per_step.values()):.3f}", "100.0 %")
        header = ("phase", "seconds", "ms/step", "share")
        width = max(len(row[0]) for row in [*rows, header])
        lines = [f"{a:<{width}}  {b:>10}  {c:>10}  {d:>8}" for a, b, c, d in [header, *rows, total]]
        rule = "-" * len(lines[0])
        last = [f"{self.steps} steps", *([self.note] if self.note else [])]
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *last])

    def _charge(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds


class _Span:
    """One passage through a phase; `inner` is the time that belongs to phases inside it."""

    __slots__ = ("_began", "_name", "_timer", "inner")

    def __init__(self, timer: PhaseTimer, name: str) -> None:
        self._timer = timer
        self._name = name
        self.inner = 0.0

    def __enter__(self) -> None:
        self._timer._open.append(self)
        self._began = self._timer._clock()

    def turn(self, name: str, outer: _Span | None) -> None:
        now = self._timer._clock()
        elapsed = now - self._began
        self._timer._charge(self._name, elapsed - self.inner)
        if self._timer._watch is not None:
            self._timer._watch(self._name, self._began, now)
        if outer is not None:
            outer.inner += elapsed
        self._name, self._began, self.inner = name, now, 0.0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        timer = self._timer
        timer._open.pop()
        self.turn("", timer._open[-1] if timer._open else None)
