"""The steps of a program on a device: CUDA graphs, and what the host does between them.

A step may do one of four things, and where it stands decides how it is run:

- work for the device (kernels, products, routines): captured into a graph, which one call
  launches;
- an effect that only keeps books on the host (``effect_kind = "host"``): made before the graph
  that it stands in is launched, in its order;
- an effect in two parts (``"staged"``): its owner's ``staged()`` returns ``before``, done on the
  host at every run, and ``enqueue``, whose work on the device is part of the graph;
- any other effect ends a graph; another begins after it.

A graph holds addresses, so everything it uses stays alive with it: the program's memory, and a
private pool for what an array library allocates while it is captured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcad.program.device.faults import Faults
from hpcad.program.emission.steps import Step

Work = Callable[[], Any]


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
    graph : object or None
        The CUDA graph, once it was captured.
    """

    host: list[Work] = field(default_factory=list)
    device: list[Work] = field(default_factory=list)
    after: Work | None = None
    graph: Any = None


class Segments:
    """Runs a program: the first time step by step, then as graphs.

    The first run compiles, loads and measures whatever does so on its first use, which a capture
    forbids.

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
        self.segments = _segments(steps)
        self._pool: Any = None
        self._warm = False

    @property
    def graphs(self) -> int:
        """Graphs that were captured so far."""
        return sum(segment.graph is not None for segment in self.segments)

    def __call__(self) -> None:
        self.faults.check()
        for segment in self.segments:
            for work in segment.host:
                work()
            if self._warm and segment.device:
                self._launch(segment)
            else:
                for work in segment.device:
                    work()
            if segment.after is not None:
                segment.after()
        self._warm = True
        self.faults.send()

    def _launch(self, segment: Segment) -> None:
        stream = self.xp.cuda.get_current_stream()
        if segment.graph is None:
            segment.graph = self._captured(segment, stream)
        segment.graph.launch(stream)

    def _captured(self, segment: Segment, stream: Any) -> Any:
        cuda = self.xp.cuda
        if self._pool is None:
            self._pool = cuda.MemoryPool()
        with self.backend.capturing, cuda.using_allocator(self._pool.malloc):
            stream.begin_capture()
            try:
                for work in segment.device:
                    work()
            finally:
                graph = stream.end_capture()
            return graph


def _segments(steps: Sequence[Step]) -> list[Segment]:
    """The steps in stretches, each up to an effect that is nothing for a graph."""
    found, kind_of = [Segment()], EffectKinds()
    for step in steps:
        kind = kind_of(step)
        if kind == "device":
            found[-1].device.append(step.call)
        elif kind == "host":
            found[-1].host.append(step.call)
        elif kind == "staged" and step.effect is not None:
            before, enqueue = step.effect.function.__self__.staged()
            found[-1].host.append(before)
            found[-1].device.append(enqueue)
        else:
            found[-1].after = step.call
            found.append(Segment())
    return [s for s in found if s.host or s.device or s.after]


class EffectKinds:
    """Says of the steps of one program, in their order, what they are; see the top of this file.

    The owner of an effect has an attribute ``effect_kind``; or a method ``effect_kinds()``, which
    returns a function from each of its effects in a program (the method's name, the arguments) to
    its kind.
    """

    def __init__(self) -> None:
        self._of: dict[int, Callable[[str, Any], str]] = {}

    def __call__(self, step: Step) -> str:
        """``"device"``, ``"host"``, ``"staged"`` or ``"boundary"``."""
        if step.effect is None:
            return "host" if step.kind == "effect" else "device"
        function = step.effect.function
        owner: Any = getattr(function, "__self__", None)
        if not hasattr(owner, "effect_kinds"):
            return getattr(owner, "effect_kind", "boundary")
        kinds = self._of.get(id(owner)) or self._of.setdefault(id(owner), owner.effect_kinds())
        return kinds(function.__name__, step.effect.args)
