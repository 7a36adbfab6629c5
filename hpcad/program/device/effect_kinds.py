"""What the effects of a program are for a device's queue: their owners say it.

========== =========================================================================================
kind       how it is run
========== =========================================================================================
"host"     it keeps books only: made before the graph that it stands in is launched, in its order
"staged"   in two parts: ``before``, done on the host at every run, and ``enqueue``, whose work on
           the device is part of the graph
"boundary" any other: it ends a graph, and another begins after it
========== =========================================================================================

The owner of an effect has an attribute ``effect_kind`` (and, if that is "staged", a method
``staged()`` that returns both parts); or a method ``effect_kinds()``. That returns a function from
each of its effects in a program (the method's name, the arguments), in their order, to its kind, or
to a :class:`Staged`. Kinds may depend on how the owner stands: ``effect_state()`` says how.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple, Protocol

from hpcad.program.device.held_graph import HeldGraph
from hpcad.program.emission.steps import Step

Work = Callable[[], Any]

COLD, WARM = 0, 1  # states of a segment; a number above is that of its graph


class Joint(Protocol):
    """Work that stands in graphs of several ranks, which must run it in the same way.

    Every method is collective.
    """

    def agree(self, state: int) -> int:
        """Say how far this rank's segment is, and hear how all of them run it now.

        Parameters
        ----------
        state : int
            :data:`COLD`: it has not run yet; :data:`WARM`: it can be captured; else the number
            under which it was.

        Returns
        -------
        int
            :data:`COLD`: step by step; ``state``: as the graph that there is; any other: as a
            graph of that number, to be captured now.
        """

    def settle(self, problem: str) -> bool:
        """Say whether (and why not) a capture gave a graph; whether all ranks have one."""

    def hold(self, graph: HeldGraph) -> None:
        """Drop a graph before what it uses is let go."""

    def join(self) -> None:
        """Order the current stream behind all work of this kind."""

    def launched(self) -> None:
        """The segment was given to the current stream."""


class Staged(NamedTuple):
    """An effect in two parts, and the ranks' agreement that its work needs.

    Attributes
    ----------
    before : callable
    enqueue : callable or None
        None where it has nothing for the device.
    joint : Joint or None
    """

    before: Work
    enqueue: Work | None = None
    joint: Joint | None = None


def nothing() -> None:
    """The host's part of an effect that has none."""


class EffectKinds:
    """Says of the steps of one program, in their order, what they are; see the top of this file."""

    def __init__(self) -> None:
        self._of: dict[int, Callable[[str, Any], str | Staged]] = {}

    def __call__(self, step: Step) -> str | Staged:
        """``"device"``, ``"host"``, ``"boundary"``, or the parts of a staged one."""
        if step.effect is None:
            return "host" if step.kind == "effect" else "device"
        function = step.effect.function
        owner: Any = getattr(function, "__self__", None)
        if not hasattr(owner, "effect_kinds"):
            kind = getattr(owner, "effect_kind", "boundary")
            return Staged(*owner.staged()) if kind == "staged" else kind
        kinds = self._of.get(id(owner)) or self._of.setdefault(id(owner), owner.effect_kinds())
        return kinds(function.__name__, step.effect.args)


def owners_with_state(steps: Iterable[Step]) -> list[Callable[[], Hashable]]:
    """The ``effect_state`` of each owner that has one."""
    found: dict[int, Callable[[], Hashable]] = {}
    for step in steps:
        owner: Any = None if step.effect is None else getattr(step.effect.function, "__self__", 0)
        if hasattr(owner, "effect_state"):
            found.setdefault(id(owner), owner.effect_state)
    return list(found.values())
