"""Giving work to a stream: checked by addresses, done at once or captured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from hpcad.backend.strict.blocks import drain, span_of
from hpcad.backend.strict.capture import Node, Span, check_order
from hpcad.backend.strict.clocks import Access
from hpcad.backend.strict.counts import COUNTS
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller
from hpcad.backend.strict.known import HOST, LOCK, current_stream
from hpcad.backend.strict.streams import Stream

FORGET = 64  # accesses that a block remembers before what is over is forgotten

_running = threading.local()


def enqueue(
    what: str,
    reads: Sequence[tuple[int, int]],
    writes: Sequence[tuple[int, int]],
    run: Callable[[], None],
    stream: Stream | None = None,
) -> None:
    """Give work to a stream: a kernel, a product, a copy on the device.

    Every span must lie in one living allocation, and everything that wrote it (or read it, if this
    writes it) on other streams must be ordered before, by events or by the host. Then ``run`` is
    called; while the stream captures it is not, but at every launch of the graph.

    Parameters
    ----------
    what : str
        Named in errors.
    reads, writes : sequences of (address, bytes)
        Memory that is both read and written stands in both, or in ``writes``.
    run : callable
        Does it, by :func:`host_view`. It must hold no device array: a graph keeps none alive.
    stream : Stream, optional
        The current one by default.

    Raises
    ------
    StrictDeviceError
        Memory was freed or is too short, or an event is missing.
    """
    with LOCK:
        drain()
        stream = current_stream() if stream is None else stream
        read = tuple(span_of(address, nbytes, what) for address, nbytes in reads if nbytes)
        written = tuple(span_of(address, nbytes, what) for address, nbytes in writes if nbytes)
        node = Node(what, read, written, run, line_of_caller() if stream.capture else "")
        COUNTS.launches += 1
        if stream.capture is not None:
            stream.capture.add(stream.ptr, node)
            return
        order(stream, what, read, written)
        carry_out(node)


def order(stream: Stream, what: str, reads: Sequence[Span], writes: Sequence[Span]) -> int:
    """Check work on a stream against all other work, remember it, and return its number."""
    count = stream.begin_work()
    for spans, writing in ((reads, False), (writes, True)):
        for span in spans:
            history = span.allocation.block.history
            check_order(history, span, what, stream.ptr, stream.clock, writing)
    for spans, writing in ((reads, False), (writes, True)):
        for span in spans:
            history = span.allocation.block.history
            history.note(Access(span.start, span.stop, stream.ptr, count, what), writing)
            if len(history.reads) + len(history.writes) > FORGET:
                history.forget(HOST)
    return count


def carry_out(node: Node) -> None:
    """Do it; only what it has declared may be viewed meanwhile."""
    before = getattr(_running, "node", None)
    _running.node = node
    try:
        with np.errstate(all="ignore"):
            node.run()
    finally:
        _running.node = before


def host_view(address: int, nbytes: int) -> np.ndarray:
    """The bytes at a device address, within ``run`` of the work that has declared them.

    Returns
    -------
    ndarray of uint8, shape (nbytes,)
        Read-only, unless it was declared as written.

    Raises
    ------
    StrictDeviceError
        No work is running, or it did not declare these bytes.
    """
    node: Node | None = getattr(_running, "node", None)
    if node is None:
        raise StrictDeviceError(
            f"host_view() at {line_of_caller()} outside of work: the host cannot read device "
            "memory; call it within `run` of enqueue()"
        )
    if nbytes == 0:
        return np.empty(0, np.uint8)
    for spans, writable in ((node.writes, True), (node.reads, False)):
        for span in spans:
            start = address - span.allocation.block.address
            if span.start <= start and start + nbytes <= span.stop:
                view = span.allocation.block.bytes[start : start + nbytes]
                view.flags.writeable = writable
                return view
    raise StrictDeviceError(
        f"{node.what} touches {nbytes} bytes at {address:#x}, which it did not declare as read or "
        "written; list every span in enqueue()"
    )
