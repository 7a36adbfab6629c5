"""Who holds an array: what may be written in place because nothing else would see it.

Arrays are counted by the interpreter's references to them. Where that cannot be known, the answer
is no, and the caller copies.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import Any

import numpy as np

from hpcad.autodiff.conversion import CAPTURED
from hpcad.autodiff.keep import EVERYTHING
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.reverse import Pull
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import Tensor
from hpcad.primitives.elementwise import multiply

# Interpreters that do not count references copy every time.
references: Callable[[object], int] = getattr(sys, "getrefcount", lambda _: sys.maxsize)

_UNKNOWN = sys.maxsize - 1


def _is_ours(array: Any) -> bool:
    """Whether an array has memory of its own that may be written, and no guard watches it."""
    return (
        type(array) is np.ndarray
        and array.flags.owndata
        and array.flags.writeable
        and weakref.getweakrefcount(array) == 0
    )


# -- the values of a tensor ---------------------------------------------------------------


class Granted(threading.local):
    """The arrays (by id) that the assignment now being made may overwrite."""

    ids: Sequence[int] = ()


_GRANTED = Granted()


@contextmanager
def granting(x: Tensor) -> Iterator[None]:
    """Allow to overwrite the arrays that are reached through ``x`` and through nothing else."""
    found: list[int] = []
    # A tape that keeps everything is replayed later, from the old values; so is a program.
    if STATE.capture is None and not any(
        getattr(trace, "purpose", None) == EVERYTHING for trace in STATE.traces
    ):
        _collect(x, found)
    _GRANTED.ids = found
    try:
        yield
    finally:
        _GRANTED.ids = ()


def is_granted(array: Any) -> bool:
    """Whether the assignment now being made may overwrite the array."""
    return id(array) in _GRANTED.ids


def _held_once(x: Tensor) -> int:
    return references(x.value)


ALONE = min(_held_once(Tensor(np.zeros(1))), _UNKNOWN)


def _collect(x: Tensor, found: list[int]) -> None:
    """Value and tangent, through all levels, as long as each holds the next one alone."""
    if x.level == CAPTURED:
        return
    if references(x.value) <= ALONE:
        if isinstance(x.value, Tensor):
            _collect(x.value, found)
        elif _is_ours(x.value):
            found.append(id(x.value))
    if hasattr(x, "tangent") and references(x.tangent) <= ALONE:
        if isinstance(x.tangent, Tensor):
            _collect(x.tangent, found)
        elif _is_ours(x.tangent):
            found.append(id(x.tangent))


# -- a cotangent in the backward pass -----------------------------------------------------


class Fresh:
    """What a cotangent looks like to a joint rule when nothing else holds it.

    Measured once, on the engine itself, because it depends on how the engine and the interpreter
    pass arguments.
    """

    count = 0
    callers: tuple[CodeType, ...] = ()


FRESH = Fresh()


def is_fresh(g: Any, count: int) -> bool:
    """Whether a joint rule may overwrite its cotangent, to which it counts so many references."""
    return count <= FRESH.count and _is_ours(g) and _callers(3) == FRESH.callers


def _callers(depth: int) -> tuple[CodeType, CodeType]:
    """Who called the rule, and who called that."""
    frame: Any = sys._getframe(depth)
    return frame.f_code, frame.f_back.f_code


def calibrate() -> None:
    """Pull a new array through the engine, and count its references in the rules it gets to.

    The smaller count is that of an array which the engine itself holds no second time.
    """
    counts: list[int] = []

    def seen(
        needs: Any, g: Any, _z: Any, _saved: Any, _x: Any, _v: Any, index: Any, before: Any
    ) -> list[Any]:
        counts.append(references(g))
        FRESH.callers = _callers(2)
        return [g.copy(), None]

    probe = Primitive(
        "probe", lambda x, _v, *, index, before: x + 1, None, joint=seen, register=False
    )
    observer, STATE.observer = STATE.observer, None
    try:
        with Tape() as tape:
            x = tape.input(np.zeros(1))
            for _ in range(3):
                x = probe(x, 0.0, index=(), before=())
            z = multiply(x, 2.0)
        Pull(tape, {z.slot: np.ones(1)}).retain()
    finally:
        STATE.observer = observer
    FRESH.count = min(*counts, _UNKNOWN)
