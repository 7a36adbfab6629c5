"""The one reference to a CUDA graph, which can be dropped whoever else is about to end."""

from __future__ import annotations

from typing import Any


class HeldGraph:
    """Holds a graph, and refers to nothing else.

    A graph must go before what it uses does: NCCL's communicator waits for graphs of its
    collectives to go, for ever. So the communicator holds this, too, and drops the graph before its
    own end, also where the garbage collector ends a program, its engine and its communicator
    together, in any order and with no weak reference between them left.
    """

    __slots__ = ("graph",)

    def __init__(self) -> None:
        self.graph: Any = None

    def release(self) -> None:
        """Drop the graph."""
        self.graph = None
