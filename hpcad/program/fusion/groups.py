"""Groups: instructions that will run as one kernel.

A group has a place in the order of tasks, one loop nest, and nodes: what is computed for each
element. A node is named by a value of the program and the way it is looked at from the loop (views
and broadcasts, outermost last).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hpcad.program.instruction import Instruction, Value
from hpcad.program.views import Layout

Step = Instruction | tuple[int, ...]  # a view operation, or a shape to broadcast to
Way = tuple[Step, ...]
Key = tuple[Any, Way]  # a value (or number) and how the loop looks at it


@dataclass(frozen=True)
class NodeSpec:
    """A node before its group is complete; ``args`` are keys of others."""

    op: str
    args: tuple[Any, ...]
    dtype: str
    detail: Any = None


@dataclass(frozen=True)
class Target:
    """Where a node is stored.

    Attributes
    ----------
    key : Key
    value : Value
        The value in whose memory it lands.
    way : tuple
        How the loop looks at that memory: a slice of it, another shape, or (``axes``) with axes
        along which it does not move because they are summed over.
    axes : tuple of int or None
        Axes of the loop that are summed over.
    """

    key: Key
    value: Value
    way: Way = ()
    axes: tuple[int, ...] | None = None


@dataclass(eq=False)
class Group:
    """One kernel in the making."""

    extents: tuple[int, ...]
    position: int
    nodes: dict[Key, NodeSpec] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def loads(self) -> list[Key]:
        """What it reads from memory."""
        return [key for key, node in self.nodes.items() if node.op == "load"]


def layout_through(layout: Layout | None, way: Way) -> Layout | None:
    """A layout looked at in a certain way; None where that would need a copy."""
    for step in way:
        if layout is None:
            return None
        layout = layout.broadcast(step) if isinstance(step, tuple) else layout.seen_through(step)
    return layout


def contiguous_through(value: Value, way: Way) -> Layout | None:
    """How a value that is contiguous would be looked at."""
    return layout_through(Layout.natural(value), way)


def loop_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The loop nest over a shape; over one element for a number."""
    return shape or (1,)
