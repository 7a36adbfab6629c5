"""What streams are given while they capture: nodes of a graph, in an order that is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcad.backend.strict.clocks import Access, Clock, History, merge
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller

if TYPE_CHECKING:
    from hpcad.backend.strict.blocks import Allocation
    from hpcad.backend.strict.streams import Stream


@dataclass(frozen=True)
class Span:
    """Bytes of an allocation.

    Attributes
    ----------
    allocation : Allocation
    start, stop : int
        Offsets in the allocation's block.
    """

    allocation: Allocation
    start: int
    stop: int


@dataclass(frozen=True)
class Node:
    """A piece of work: what it touches, and how the strict device does it."""

    what: str
    reads: tuple[Span, ...]
    writes: tuple[Span, ...]
    run: Callable[[], None]
    where: str


@dataclass
class Capture:
    """A capture under way: streams that take part, and their nodes.

    Attributes
    ----------
    origin : int
        Number of the stream that began.
    nodes : list of Node
        In the order in which they were given, which is an order that the graph allows.
    clocks : dict
        Of each stream that takes part, counting nodes.
    failed : str
        The first error that was met: there will be no graph.
    """

    origin: int
    nodes: list[Node] = field(default_factory=list)
    clocks: dict[int, Clock] = field(default_factory=dict)
    over: bool = False
    failed: str = ""
    streams: list[Stream] = field(default_factory=list)
    _counts: dict[int, int] = field(default_factory=dict)
    _histories: dict[int, History] = field(default_factory=dict)

    def join(self, stream: Stream, clock: Clock) -> None:
        """A stream waits for an event of the capture, and takes part from now on."""
        if stream not in self.streams:
            self.streams.append(stream)
        merge(self.clocks.setdefault(stream.ptr, {}), clock)

    def add(self, stream: int, node: Node) -> None:
        """Append a node, ordered behind what its stream has waited for.

        Raises
        ------
        StrictDeviceError
            Another stream of the capture uses the same bytes, and no event orders the two.
        """
        clock = self.clocks.setdefault(stream, {})
        count = self._counts[stream] = self._counts.get(stream, 0) + 1
        clock[stream] = count
        for spans, writing in ((node.reads, False), (node.writes, True)):
            for span in spans:
                history = self._histories.setdefault(id(span.allocation.block), History())
                try:
                    check_order(history, span, node.what, stream, clock, writing)
                except StrictDeviceError as error:
                    self.fail(str(error))
                    raise
                access = Access(span.start, span.stop, stream, count, node.what)
                history.note(access, writing)
        self.nodes.append(node)

    def fail(self, why: str) -> None:
        """Note an error."""
        self.failed = self.failed or why

    def unjoined(self) -> list[int]:
        """Streams with work that the stream which began does not wait for."""
        known = self.clocks.get(self.origin, {})
        return [s for s, n in self._counts.items() if s != self.origin and known.get(s, 0) < n]


def check_order(
    history: History, span: Span, what: str, stream: int, clock: Clock, writing: bool
) -> None:
    """Raise :class:`StrictDeviceError` if work is not ordered behind what its bytes need."""
    earlier = history.conflict(span.start, span.stop, clock, writing)
    if earlier is None:
        return
    verb = "writes" if writing else "reads"
    raise StrictDeviceError(
        f"{what} on stream {stream} at {line_of_caller()} {verb} {span.allocation}, which "
        f"{earlier.what} on stream {earlier.stream} may still be using; record an event behind it "
        f"(event.record(stream {earlier.stream})) and let stream {stream} wait for it (wait_event)"
    )
