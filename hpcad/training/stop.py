"""End a run early and in good order, when the system asks for it.

A batch system warns a job before it ends it: with SIGTERM, or with the signal that was asked for
(Slurm: ``--signal=USR1@120``). The run then finishes its step, saves and returns. All ranks must
do so at the same step, although the signal reaches them at different times and may reach only some.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from hpcad.parallel import World

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_SECONDS_BETWEEN = 0.2  # of agreements; what a run may take to notice


class StopSignals:
    """Note signals, and let all ranks stop at the same step.

    Handlers are installed for the block, where Python allows it: in the main thread.

    Parameters
    ----------
    world : World
    heeded : bool
        False: signals do what they do elsewhere, and nobody is asked.
    """

    def __init__(self, world: World, *, heeded: bool = True) -> None:
        self._heeded = heeded
        self._communicator = world.communicator
        self._received = 0
        self._previous: dict[int, Any] = {}
        self._steps_left = 1
        self._steps = 0
        self._since = time.perf_counter()

    def after_step(self) -> int:
        """Return the number of the signal that ends the run here, or 0; collective.

        The ranks ask each other about five times a second and not in every step.
        """
        self._steps += 1
        self._steps_left -= 1
        if self._communicator.size == 1 or not self._heeded:
            return self._received
        if self._steps_left > 0:
            return 0
        pace = (time.perf_counter() - self._since) / self._steps
        together = np.array([self._received, pace])
        self._communicator.allreduce(together, "max", "stop")
        self._steps_left = max(1, int(_SECONDS_BETWEEN / max(float(together[1]), 1e-6)))
        self._steps, self._since = 0, time.perf_counter()
        return int(together[0])

    def __enter__(self) -> StopSignals:
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
