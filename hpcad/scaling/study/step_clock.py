"""Times every step of a training run from outside: its seconds, phases, and communication."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any, SupportsFloat

import numpy as np

from hpcad.backend import Backend
from hpcad.backend.flops import FlopCount, counted_flops
from hpcad.data import Batch
from hpcad.parallel import World
from hpcad.parallel.record import Record, listeners
from hpcad.training.phases import PhaseTimer

DEVICE_WAIT = "device wait"
_REDUCTIONS = ("iallreduce", "allreduce")
_OF_GRADIENTS = "gradients of "  # how buckets name their reductions


class StepClock:
    """Is told of the steps by a :class:`~hpcad.training.Trainer`; a context manager.

    A step begins when all ranks have passed a barrier, and ends on each when it is done there: on a
    device, when the device is.

    Parameters
    ----------
    world : World
    backend : Backend
        Of the model.
    full : int
        Samples of a global batch. Smaller ones, at the ends of epochs, are no steps of the study;
        they are counted in `left_out`.
    flops_at : int
        The step, counted from 0, of which the floating-point operations are counted; that of the
        last warm-up step, since counting takes time.
    """

    def __init__(self, world: World, backend: Backend, full: int, flops_at: int) -> None:
        self._communicator, self._backend = world.communicator, backend
        self._full, self._flops_at = full, flops_at
        self._reductions: list[tuple[float, float]] = []
        self._counting: AbstractContextManager[FlopCount] | None = None
        self.left_out = 0
        self.flops = 0
        self.seconds: list[float] = []
        self.communication: list[float] = []
        self._phases: list[dict[str, float]] = []
        self._shares: list[SupportsFloat] = []

    def __enter__(self) -> StepClock:
        listeners.append(self._note)
        return self

    def __exit__(self, *error: Any) -> None:
        listeners.remove(self._note)

    # -- what the trainer calls ----------------------------------------------------------------

    def before_step(self, phases: PhaseTimer) -> None:
        """Wait for all ranks, and start the clock."""
        if len(self.seconds) == self._flops_at:
            self._counting = counted_flops()
            self._count = self._counting.__enter__()
        self._before = _named(phases)
        self._communicator.barrier("step")
        self._reductions.clear()
        self._began = time.perf_counter()

    def after_step(self, phases: PhaseTimer, batch: Batch, share: SupportsFloat) -> None:
        """Stop the clock when the step is done, on a device too."""
        if self._backend.on_device:
            with phases(DEVICE_WAIT):
                self._backend.synchronize()
        ended = time.perf_counter()
        self._stop_counting()
        if batch.global_size < self._full:
            self.left_out += 1
            return
        after = _named(phases)
        self.seconds.append(ended - self._began)
        self._phases.append({n: s - self._before.get(n, 0.0) for n, s in after.items()})
        self.communication.append(covered(self._reductions))
        self._shares.append(share)

    # -- what it has found -----------------------------------------------------------------------

    @property
    def losses(self) -> np.ndarray:
        """This rank's share of every step's loss."""
        return np.array([float(share) for share in self._shares])

    def phases(self) -> dict[str, np.ndarray]:
        """Phase -> seconds of every step, without what no phase covers."""
        names = dict.fromkeys(name for step in self._phases for name in step)
        return {name: np.array([step.get(name, 0.0) for step in self._phases]) for name in names}

    def _note(self, record: Record) -> None:
        """Keep when a reduction of gradients was under way; may be called from any thread."""
        if record.operation in _REDUCTIONS and record.name.startswith(_OF_GRADIENTS):
            self._reductions.append((record.started, record.finished))

    def _stop_counting(self) -> None:
        if self._counting is not None:
            self._counting.__exit__(None, None, None)
            self._counting, self.flops = None, self._count.total


def covered(spans: list[tuple[float, float]]) -> float:
    """Seconds in which at least one of the spans was under way.

    >>> covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    4.0
    """
    total, reached = 0.0, -np.inf
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return float(total)


def _named(phases: PhaseTimer) -> dict[str, float]:
    return {name: seconds for name, seconds in phases.seconds().items() if name != "other"}
