"""The trace state of a thread: which tape records, and how deep transforms are nested."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hpcad.autodiff.links import complete_links
from hpcad.errors import DifferentiationError


class TraceState(threading.local):
    """Per-thread trace state.

    Attributes
    ----------
    depth : int
        Number of transforms (``grad``, ``jvp``, ...) around the running code. Level 0 is the
        ambient tape, on which parameters record.
    traces : list
        The traces of those transforms, outermost first.
    working : tuple of int
        A level, and a number of traces: of the first so many, those from this level on evaluate
        a primitive or its rule just now, and follow nothing that is done for it.
    recording : bool
        False inside :func:`no_grad`.
    guarding : bool
        Whether tapes fingerprint the arrays they capture; see :mod:`hpcad.autodiff.guard`.
    repeating : bool
        Whether a function is run again for its derivative, which was run before.
    observer : object or None
        Who is told about every value, tangent and cotangent (:mod:`hpcad.autodiff.seeing`).
    capture : object or None
        Who records what is done to arrays, below all differentiation (:mod:`hpcad.program`).
    ambient : callable
        Weak reference to the ambient tape. Weak, because the tensors on a tape own it: when
        the last of them dies, so does the record of how it was computed.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.traces: list[Any] = []
        self.working = (0, 0)
        self.recording = True
        self.guarding = True
        self.repeating = False
        self.observer: Any = None
        self.capture: Any = None
        self.ambient: Callable[[], Any] = _nothing

    def following(self) -> list[Any]:
        """The traces that follow what the running code does, outermost first."""
        level, count = self.working
        return [t for i, t in enumerate(self.traces) if i >= count or t.level < level]


def _nothing() -> None:
    return None


STATE = TraceState()


class Changes:
    """What programs take for granted and cannot look at each time: attributes of modules.

    Attributes
    ----------
    count : int
        Raised by every change; a program that was captured at another count may be out of date.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


CHANGES = Changes()


def effect(
    function: Callable[..., Any], *args: Any, answer: bool = False, writes: bool = False
) -> Any:
    """Call a function for what it does; a program that is captured does it again each time.

    It must do the same to the same things every time, whatever numbers it meets.

    Parameters
    ----------
    answer : bool
        Whether what it returns is needed, also where a program is captured ahead of its run and
        effects are not called; it may then be called once more than it would be.
    writes : bool
        Whether it changes parameters.
    """
    capture = STATE.capture
    if capture is None:
        return function(*args)
    return capture.call(function, args, answer, writes)


def captures(params: Mapping[str, Any]) -> bool:
    """Whether parameters of an operation belong to a program that is being captured."""
    return STATE.capture is not None and STATE.capture.concerns((), params)


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording on the ambient tape (parameters count as constants)."""
    before = STATE.recording
    STATE.recording = False
    try:
        yield
    finally:
        STATE.recording = before


class Trace:
    """What follows the tensors of one transform; ``with trace:`` is the extent of the transform.

    Attributes
    ----------
    level : int
        Depth of the transform, from 1; a primitive goes to the trace of the highest level among
        its arguments.
    observer : object or None
        Taken from the thread's state when the trace is made.
    """

    __slots__ = ("__weakref__", "level", "observer")

    def __init__(self, level: int | None = None) -> None:
        complete_links()
        self.level = STATE.depth + 1 if level is None else level
        self.observer = STATE.observer

    def process(self, primitive: Any, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Evaluate a primitive one level below, and follow it."""
        raise TypeError(f"{type(self).__name__} defines no process()")

    def process_leading(self, primitive: Any, x: Any, constants: tuple[Any, ...]) -> Any:
        """The same of one tensor of this trace, and of numbers or arrays behind it."""
        return self.process(primitive, (x, *constants), {})

    def __enter__(self) -> Any:
        STATE.depth += 1
        self.level = STATE.depth
        STATE.traces.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self not in STATE.traces:
            raise DifferentiationError(
                "a tape or transform was entered in one thread and left in another; let one thread "
                "run the generator that holds it"
            )
        if self is STATE.traces[-1]:
            STATE.depth = self.level - 1
        # Else it stood in a generator that was left open when others began: theirs stay above.
        STATE.traces.remove(self)
        if not STATE.traces:
            STATE.depth = 0
