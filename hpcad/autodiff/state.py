"""The trace state of a thread: which tape records, and how deep transforms are nested."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class TraceState(threading.local):
    """Per-thread trace state.

    Attributes
    ----------
    depth : int
        Number of transforms (``grad``, ``vjp``) around the running code. Level 0 is the ambient
        tape, on which parameters record.
    recording : bool
        False inside :func:`no_grad`.
    ambient : callable
        Weak reference to the ambient tape. Weak, because the tensors on a tape own it: when
        the last of them dies, so does the record of how it was computed.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.recording = True
        self.ambient: Callable[[], Any] = _nothing


def _nothing() -> None:
    return None


STATE = TraceState()


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording on the ambient tape (parameters count as constants)."""
    before = STATE.recording
    STATE.recording = False
    try:
        yield
    finally:
        STATE.recording = before


@contextmanager
def nested() -> Iterator[int]:
    """Enter a transform; yields its level."""
    STATE.depth += 1
    try:
        yield STATE.depth
    finally:
        STATE.depth -= 1
