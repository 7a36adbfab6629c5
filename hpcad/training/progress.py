"""Progress of a run on rank 0: a bar in a terminal, plain lines in a batch log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

_WINDOW = 0.7  # weight of the past in the smoothed rate


class Progress:
    """Show how far a run is: step, epoch, loss, samples/s, learning rate, time left.

    Parameters
    ----------
    total
        Steps of the whole run.
    step
        Steps already done (of a resumed run).
    every
        Steps between two reports.
    enabled
        False on ranks other than 0, which then print nothing.
    stream
        Where to write. By default a bar goes to `sys.stderr` if that is a terminal, and lines go to
        `sys.stdout`, in order with what else the run prints.
    clock
        Returns seconds; monotonic.
    """

    def __init__(
        self,
        total: int,
        *,
        step: int = 0,
        every: int = 50,
        enabled: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._every = every
        # Not stdout's: `srun -u` and Open MPI's mpirun give ranks a terminal that nobody sees.
        terminal = sys.stderr.isatty() if stream is None else stream.isatty()
        self._stream = stream or (sys.stderr if terminal else sys.stdout)
        self._clock = clock
        self._enabled = enabled
        self._bar = self._make_bar(step) if enabled and terminal else None
        self._last_step = step
        self._last_time = clock()
        self._samples = 0
        self._seconds_per_step: float | None = None
        self.samples_per_second: float | None = None

    def update(
        self,
        step: int,
        *,
        epoch: int,
        samples: int,
        loss: float | None = None,
        learning_rate: float | None = None,
    ) -> None:
        """Report that `step` steps are done; prints every `every` steps and at the end.

        Parameters
        ----------
        step
            Steps done.
        epoch
            Epochs begun, from 0.
        samples
            Samples of this step, over all ranks.
        loss, learning_rate
            As known; a loss that is costly to fetch is needed only at multiples of `every`.
        """
        self._samples += samples
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
        if step % self._every and step != self._total:
            return
        self._measure(step)
        if self._bar is not None:
            self._bar.set_postfix(_words(epoch, loss, self.samples_per_second, learning_rate))
        elif self._enabled:
            self.message(self._line(step, epoch, loss, learning_rate))

    def message(self, text: str) -> None:
        """Print `text` on a line of its own, above the bar if there is one."""
        if not self._enabled:
            return
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def leave_out(self, seconds: float) -> None:
        """Leave `seconds` since the last report out of the rate: an evaluation, a checkpoint."""
        self._last_time += seconds

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _make_bar(self, step: int) -> Any:
        from tqdm import tqdm

        return tqdm(
            total=self._total, initial=step, unit="step", file=self._stream, dynamic_ncols=True
        )

    def _measure(self, step: int) -> None:
        now = self._clock()
        elapsed, steps = now - self._last_time, step - self._last_step
        if elapsed > 0 and steps > 0:
            self.samples_per_second = self._samples / elapsed
            current = elapsed / steps
            past = self._seconds_per_step if self._seconds_per_step is not None else current
            self._seconds_per_step = _WINDOW * past + (1 - _WINDOW) * current
        self._last_time, self._last_step, self._samples = now, step, 0

    def _line(self, step: int, epoch: int, loss: float | None, learning_rate: float | None) -> str:
        words = _words(epoch, loss, self.samples_per_second, learning_rate)
        width = len(str(self._total))
        parts = [f"step {step:>{width}}/{self._total}", *(f"{k} {v}" for k, v in words.items())]
        if self._seconds_per_step is not None:
            parts.append(f"ETA {_duration((self._total - step) * self._seconds_per_step)}")
        return "  ".join(parts)


def _words(
    epoch: int, loss: float | None, rate: float | None, learning_rate: float | None
) -> dict[str, str]:
    words = {"epoch": str(epoch)}
    if loss is not None:
        words["loss"] = f"{loss:.4f}"
    if rate is not None:
        words["samples/s"] = f"{rate:.0f}"
    if learning_rate is not None:
        words["lr"] = f"{learning_rate:.2e}"
    return words


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
