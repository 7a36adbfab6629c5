"""How long each step of a program takes on a device, by events between the steps.

Written against CuPy 14; not yet run on a GPU. On the strict device it runs, and all times are 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpcad.program.cuda.launch import load
from hpcad.program.cuda.routines.hold import hold
from hpcad.program.device.effect_kinds import COLD, EffectKinds, Joint, Staged
from hpcad.program.emission.executable import Executable
from hpcad.program.emission.steps import Step, no_call

AHEAD = 1.5  # of the time that the host needs to give a stretch of work to the device
SHORTEST = 1e-4  # seconds that the stream is held

Work = Callable[[], Any]
Numbered = tuple[int, Work]  # of a step


@dataclass
class _Stretch:
    """Steps up to an effect that is nothing for the device's queue, as in a program's graphs."""

    host: list[Numbered] = field(default_factory=list)
    device: list[Numbered] = field(default_factory=list)
    after: Numbered | None = None
    joint: Joint | None = None
    enqueued_in: float | None = None  # seconds, of the host


class StepTimes:
    """What :func:`timed` found.

    Attributes
    ----------
    runs : int
        That were timed.
    """

    def __init__(self, steps: int) -> None:
        self.runs = 0
        self._device, self._host = np.zeros(steps), np.zeros(steps)

    @property
    def seconds(self) -> np.ndarray:
        """Mean seconds of the device for each step; 0 where it does nothing."""
        return self._device / max(1, self.runs)

    @property
    def host_seconds(self) -> np.ndarray:
        """Mean seconds of effects on the host, most of which pass while the device works."""
        return self._host / max(1, self.runs)

    def add(self, device: np.ndarray, host: np.ndarray) -> None:
        """Count a run."""
        self._device += device
        self._host += host
        self.runs += 1


class StepClock:
    """Runs a program step by step, without graphs, with an event between each step and the next.

    The stream is held back before each stretch until all of it lies ready, so that what is between
    two events is the device's time: the step, and the microsecond or two of an event. The sum over
    the steps is that of the graph, without what a graph saves between its nodes.

    Parameters
    ----------
    steps : sequence of Step
    xp : module
        CuPy, or the strict device.
    times : StepTimes
    """

    def __init__(self, steps: list[Step], xp: Any, times: StepTimes) -> None:
        self.xp, self.times, self._count = xp, times, len(steps)
        self._stretches = _stretches(steps)
        longest = max((len(each.device) for each in self._stretches), default=0)
        self._events = [xp.cuda.Event() for _ in range(longest + 1)]
        self._nanoseconds = [0]
        self._hold = load([hold()], xp)[0].bind([], self._nanoseconds)
        self._warm = False

    def __call__(self) -> None:
        """Run all steps. The first run is not counted: it finds out how long to hold."""
        device, host = np.zeros(self._count), np.zeros(self._count)
        for stretch in self._stretches:
            for number, work in stretch.host:
                host[number] += _host_seconds(work)
            if stretch.device:
                self._run(stretch, device)
            if stretch.after is not None:
                number, work = stretch.after
                host[number] += _host_seconds(work)
        if self._warm:
            self.times.add(device, host)
        self._warm = True

    def _run(self, stretch: _Stretch, seconds: np.ndarray) -> None:
        stream = self.xp.cuda.get_current_stream()
        if stretch.joint is not None:
            stretch.joint.agree(COLD)  # every rank goes step by step
        if stretch.enqueued_in is not None:
            wait = max(SHORTEST, AHEAD * stretch.enqueued_in)
            self._nanoseconds[0] = int(1e9 * wait)
            self._hold()
        started = time.perf_counter()
        self._events[0].record(stream)
        for (_, work), event in zip(stretch.device, self._events[1:], strict=False):
            work()
            event.record(stream)
        if stretch.joint is not None:
            stretch.joint.join()
            stretch.joint.launched()
        stretch.enqueued_in = time.perf_counter() - started
        stream.synchronize()
        for i, (number, _) in enumerate(stretch.device):
            between = self.xp.cuda.get_elapsed_time(self._events[i], self._events[i + 1])
            seconds[number] += 1e-3 * between


@contextmanager
def timed(program: Executable) -> Iterator[StepTimes]:
    """Time each step of a program on a device in the runs inside of the block, but the first.

    Parameters
    ----------
    program : Executable
        Made for a device, and run before (what compiles on its first use has done so).

    Examples
    --------
    >>> with timed(step.program) as times:
    ...     for batch in batches:
    ...         step(batch)
    >>> print(step.program.report(times.seconds))
    """
    times, usual = StepTimes(len(program.steps)), program._call
    target: Any = program.target
    program._call = StepClock(program.steps, target.xp, times)
    try:
        yield times
    finally:
        program._call = usual


def _stretches(steps: list[Step]) -> list[_Stretch]:
    """The steps as a program's graphs take them, each work with the number of its step."""
    found, kind_of = [_Stretch()], EffectKinds()
    for number, step in enumerate(steps):
        kind, call = kind_of(step), step.call
        if call is no_call:
            raise RuntimeError(f"{step.name} is a step for the host; time it with program.timed()")
        if isinstance(kind, Staged):
            found[-1].host.append((number, kind.before))
            if kind.enqueue is not None:
                found[-1].device.append((number, kind.enqueue))
            found[-1].joint = found[-1].joint or kind.joint
        elif kind == "device":
            found[-1].device.append((number, call))
        elif kind == "host":
            found[-1].host.append((number, call))
        else:
            found[-1].after = (number, call)
            found.append(_Stretch())
    return found


def _host_seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
