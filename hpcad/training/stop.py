"""End a run early and in good order, when the system asks for it or its time is over.

A batch system warns a job before it ends it: with SIGTERM, or with the signal that was asked for
(Slurm: ``--signal=USR1@120``). The run then finishes its step, saves and returns. All ranks must
do so at the same step, although the signal reaches them at different times and may reach only
some, and although their clocks differ.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from hpcad.parallel import World
from hpcad.training.limits import Deadline, Limits

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_SECONDS_BETWEEN = 0.2  # of agreements; what a run may take to notice
_MOST_STEPS = 50  # between them, should steps suddenly take longer


class Stop:
    """Note signals and the clock, and let all ranks stop at the same step.

    Handlers are installed for the block, where Python allows it: in the main thread. A signal that
    arrives while the run is stopping already changes nothing.

    Parameters
    ----------
    world : World
    deadline : Deadline, optional
    heeded : bool
        False: signals do what they do elsewhere, time does not matter, and nobody is asked.

    Attributes
    ----------
    signal : int
        Number of the signal that ended the run, on all ranks alike, or 0.
    out_of_time : bool
        Whether it ended because its job soon does.
    """

    def __init__(
        self, world: World, deadline: Deadline | None = None, *, heeded: bool = True
    ) -> None:
        self.signal = 0
        self.out_of_time = False
        self._heeded = heeded
        self._deadline = deadline or Deadline(Limits())
        self._communicator = world.communicator
        self._received = 0
        self._previous: dict[int, Any] = {}
        self._steps_left = 1
        self._steps = 0
        self._since = time.perf_counter()
        # The longest time between two questions; an evaluation may lie in it. The first is left
        # out: it has the compilation.
        self._longest: float | None = None

    def after_step(self) -> bool:
        """Return whether the run ends here; collective.

        The ranks ask each other about five times a second and not in every step; at the latest
        after 50 steps.
        """
        if not self._heeded:
            return False
        self._steps += 1
        self._steps_left -= 1
        if self._communicator.size > 1 and self._steps_left > 0:
            return False
        pace, near = self._look()
        received = self._received
        if self._communicator.size > 1:
            together = np.array([received, near, pace])
            self._communicator.allreduce(together, "max", "stop")
            received, near, pace = int(together[0]), bool(together[1]), float(together[2])
        self._steps_left = min(max(1, int(_SECONDS_BETWEEN / max(pace, 1e-6))), _MOST_STEPS)
        self._steps, self._since = 0, time.perf_counter()
        self.signal, self.out_of_time = received, near and not received
        return bool(received or near)

    def _look(self) -> tuple[float, bool]:
        """This rank's seconds per step, and whether its clock says that time is over."""
        elapsed = time.perf_counter() - self._since
        pace = elapsed / self._steps
        ahead = max(_SECONDS_BETWEEN, self._longest or 0.0)
        self._longest = 0.0 if self._longest is None else max(self._longest, elapsed)
        return pace, self._deadline.too_near(ahead, pace)

    def __enter__(self) -> Stop:
        if self._heeded and threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            # None: installed by C code, which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._received = number
