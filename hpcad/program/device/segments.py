"""The steps of a program on a device: CUDA graphs, and what the host does between them.

Work for the device (kernels, products, routines) is captured into a graph, which one call launches;
what effects are is said in :mod:`hpcad.program.device.effect_kinds`.

A graph holds addresses, so everything it uses stays alive with it: the program's memory, and a
private pool for what an array library allocates while it is captured.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcad.program.device.effect_kinds import (
    COLD,
    WARM,
    EffectKinds,
    Joint,
    Staged,
    Work,
    owners_with_state,
)
from hpcad.program.device.faults import Faults
from hpcad.program.device.held_graph import HeldGraph
from hpcad.program.emission.steps import Step


@dataclass
class Segment:
    """A stretch of steps that is one graph.

    Attributes
    ----------
    host : list of callable
        Done before it is launched.
    device : list of callable
        Enqueue work on the current stream; the same work every time.
    after : callable or None
        The effect that ends it.
    joint : Joint or None
        Of work that several ranks must run in the same way.
    held : HeldGraph
        The CUDA graph, once it was captured.
    reached : int
        How far it has come; see :attr:`state`.
    """

    host: list[Work] = field(default_factory=list)
    device: list[Work] = field(default_factory=list)
    after: Work | None = None
    joint: Joint | None = None
    held: HeldGraph = field(default_factory=HeldGraph)
    reached: int = COLD

    @property
    def graph(self) -> Any:
        """The CUDA graph, or None."""
        return self.held.graph

    @property
    def state(self) -> int:
        """How far it is; see :meth:`Joint.agree`. The end of a communicator drops its graph."""
        return self.reached if self.held.graph is not None else min(self.reached, WARM)

    def __del__(self) -> None:
        self.held.release()  # the communicator holds it, too


class Segments:
    """Runs a program: the first time step by step, then as graphs.

    The first run compiles, loads and measures whatever does so on its first use, which a capture
    forbids; and collectives open their connections.

    Parameters
    ----------
    name : str
        Of the program.
    steps : sequence of Step
    backend : Backend
    faults : Faults
        In which its steps complain.
    """

    def __init__(self, name: str, steps: Sequence[Step], backend: Any, faults: Faults) -> None:
        self.name, self.backend, self.xp, self.faults = name, backend, backend.xp, faults
        self._steps, self._states = steps, owners_with_state(steps)
        self._divisions: dict[Hashable, list[Segment]] = {}
        self._pool: Any = None
        self._divide()

    def _divide(self) -> list[Segment]:
        """The segments, as the owners of effects stand now."""
        state = tuple(ask() for ask in self._states)
        found = self._divisions.get(state)
        if found is None:
            found = self._divisions[state] = divided(self._steps)
        return found

    @property
    def graphs(self) -> int:
        """Graphs that were captured so far."""
        divisions = self._divisions.values()
        return sum(segment.graph is not None for each in divisions for segment in each)

    def __call__(self) -> None:
        self.faults.check()
        for segment in self._divide():
            for work in segment.host:
                work()
            if segment.device:
                (self._alone if segment.joint is None else self._together)(segment)
            if segment.after is not None:
                segment.after()
        self.faults.send()

    def _alone(self, segment: Segment) -> None:
        """Run a segment that no other rank takes part in."""
        if segment.state == COLD:
            _one_by_one(segment)
            segment.reached = WARM
            return
        stream = self.xp.cuda.get_current_stream()
        if segment.graph is None:
            segment.held.graph = self._captured(segment, stream)
        segment.graph.launch(stream)

    def _together(self, segment: Segment) -> None:
        """Run a segment as all ranks do it now."""
        joint: Any = segment.joint
        stream = self.xp.cuda.get_current_stream()
        number = joint.agree(segment.state)
        if number not in (COLD, segment.state):
            number = self._captured_together(segment, stream, number)
        if number == COLD:
            _one_by_one(segment)
            segment.reached = max(segment.state, WARM)
        else:
            segment.graph.launch(stream)
        joint.launched()

    def _captured_together(self, segment: Segment, stream: Any, number: int) -> int:
        """Capture at the same time as the other ranks; COLD where one of them cannot."""
        joint: Any = segment.joint
        segment.held.release()
        problem = ""
        try:
            segment.held.graph = self._captured(segment, stream)
        except (self.xp.cuda.runtime.CUDARuntimeError, NotImplementedError) as error:
            problem = f"{type(error).__name__}: {error}"
        if not joint.settle(problem):
            segment.held.release()
            return COLD
        segment.reached = number
        joint.hold(segment.held)
        return number

    def _captured(self, segment: Segment, stream: Any) -> Any:
        cuda = self.xp.cuda
        if self._pool is None:
            self._pool = cuda.MemoryPool()
        with self.backend.capturing, cuda.using_allocator(self._pool.malloc):
            stream.begin_capture()
            try:
                _one_by_one(segment)
            finally:
                graph = stream.end_capture()
            return graph


def _one_by_one(segment: Segment) -> None:
    for work in segment.device:
        work()
    if segment.joint is not None:
        segment.joint.join()  # a capture ends on the stream that began it


def divided(steps: Sequence[Step]) -> list[Segment]:
    """The steps in stretches, each up to an effect that is nothing for a graph."""
    found, kind_of = [Segment()], EffectKinds()
    for step in steps:
        kind = kind_of(step)
        if isinstance(kind, Staged):
            found[-1].host.append(kind.before)
            if kind.enqueue is not None:
                found[-1].device.append(kind.enqueue)
            found[-1].joint = found[-1].joint or kind.joint
        elif kind == "device":
            found[-1].device.append(step.call)
        elif kind == "host":
            found[-1].host.append(step.call)
        else:
            found[-1].after = step.call
            found.append(Segment())
    return [s for s in found if s.host or s.device or s.after]
