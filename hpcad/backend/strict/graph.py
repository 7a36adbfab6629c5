"""Graphs: work that was captured, done when it is launched."""

from __future__ import annotations

from typing import Any

from hpcad.backend.strict import work
from hpcad.backend.strict.blocks import drain
from hpcad.backend.strict.capture import Capture, Node, Span, check_order
from hpcad.backend.strict.clocks import Access
from hpcad.backend.strict.counts import COUNTS
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller
from hpcad.backend.strict.known import LOCK, current_stream
from hpcad.backend.strict.streams import Stream


class Graph:
    """The work of a capture, with CuPy's interface.

    It holds addresses and keeps no memory alive, as CUDA's. Every launch checks that all memory
    that it touches is still that of the capture.
    """

    def __init__(self, capture: Capture) -> None:
        self.nodes: tuple[Node, ...] = () if capture.failed else tuple(capture.nodes)
        capture.nodes.clear()  # memory of the capture, and events, outlive the graph
        self._capture = capture
        self._reads = _joined(span for node in self.nodes for span in node.reads)
        self._writes = _joined(span for node in self.nodes for span in node.writes)

    def launch(self, stream: Stream | None = None) -> None:
        """Do all work of the graph on a stream (the current one).

        Raises
        ------
        StrictDeviceError
            Memory that it uses was freed, or another stream uses it.
        """
        stream = current_stream() if stream is None else stream
        with LOCK:
            drain()
            stream.refuse_capture("the launch of a graph")
            if self._capture.failed:
                raise StrictDeviceError(
                    f"there is no graph, its capture failed: {self._capture.failed}"
                )
            for node in self.nodes:
                for span in (*node.reads, *node.writes):
                    self._check_alive(span, node)
            count = stream.begin_work()
            for spans, writing in ((self._reads, False), (self._writes, True)):
                for span in spans:
                    check_order(
                        span.allocation.block.history, span, "the launch of a graph",
                        stream.ptr, stream.clock, writing,
                    )  # fmt: skip
            for spans, writing in ((self._reads, False), (self._writes, True)):
                for span in spans:
                    access = Access(span.start, span.stop, stream.ptr, count, "a graph")
                    span.allocation.block.history.note(access, writing)
            COUNTS.graph_launches += 1
            for node in self.nodes:
                work.carry_out(node)

    def upload(self, stream: Stream | None = None) -> None:
        """Nothing is to be done ahead of a launch here."""

    def debug_dot_str(self, flags: int = 0) -> str:
        """The nodes, as a chain in the order in which they run, in the language of Graphviz."""
        chain = " -> ".join(f'"{i}: {node.what}"' for i, node in enumerate(self.nodes))
        return f"digraph {{ {chain} }}"

    def _check_alive(self, span: Span, node: Node) -> None:
        allocation, block = span.allocation, span.allocation.block
        if block.allocation is allocation and allocation.alive:
            return
        what = (
            f"the launch of a graph at {line_of_caller()}: {node.what} (captured at {node.where})"
        )
        if allocation.capture is not self._capture:
            raise StrictDeviceError(
                f"{what} uses {allocation}, which was freed after the capture; a graph keeps "
                "addresses and no arrays: keep what it uses alive as long as the graph"
            )
        pool, now = block.pool(), block.allocation
        if pool is None or now is None:
            raise StrictDeviceError(
                f"{what} uses {allocation} of a private pool that is gone; keep the pool alive as "
                "long as the graph"
            )
        if now.alive and now.capture is None:
            raise StrictDeviceError(
                f"{what} writes over {now}, which was given memory that a graph uses; allocate "
                "from a graph's private pool only while capturing"
            )


def finish(stream: Stream) -> Graph:
    """End a capture, and make a graph of it."""
    with LOCK:
        capture = stream.capture
        if capture is None or capture.origin != stream.ptr:
            raise StrictDeviceError(
                f"end_capture() of stream {stream.ptr} at {line_of_caller()}, which began none; "
                "end a capture on the stream that began it"
            )
        drain()
        capture.over = True
        for each in capture.streams:
            each.leave_capture()
        alone = [] if capture.failed else capture.unjoined()
        if alone:
            raise StrictDeviceError(
                f"end_capture() at {line_of_caller()}: streams {alone} took part in the capture, "
                f"and stream {stream.ptr} does not wait for their work; record an event behind it "
                "and wait for that before end_capture()"
            )
        return Graph(capture)


def _joined(spans: Any) -> list[Span]:
    """Spans without repetitions."""
    found: dict[tuple[int, int, int], Span] = {}
    for span in spans:
        found.setdefault((id(span.allocation), span.start, span.stop), span)
    return list(found.values())
