"""Revolve: how to run a chain of steps backwards with few stored states.

Reversing step k needs the state before it. With ``slots`` places for states, the initial one
included, a chain of up to ``C(slots + r, slots)`` steps can be reversed so that no step is advanced
over more than r times, and the schedule below runs the steps as few times as is possible at all
(A. Griewank and A. Walther, "Algorithm 799: Revolve: an implementation of checkpointing for the
reverse or adjoint mode of computational differentiation", ACM TOMS 26, 2000).

The schedules are plain sequences of actions: nothing here knows what a state is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from math import comb
from typing import NamedTuple

ADVANCE, STORE, SPILL, RESTORE, DROP, REVERSE = (
    "advance",
    "store",
    "spill",
    "restore",
    "drop",
    "reverse",
)


class Action(NamedTuple):
    """One instruction; at any time there is a current state.

    Attributes
    ----------
    kind : str
        ``"advance"``: run steps ``at`` to ``to - 1``, so that state ``to`` is current.
        ``"store"``: keep the current state ``at`` in memory. ``"spill"``: keep it on disk.
        ``"restore"``: make the kept state ``at`` current. ``"drop"``: forget it (it may stay
        current). ``"reverse"``: record step ``at`` from the current state, and pull it.
    at : int
    to : int
        Of ``"advance"`` only.
    """

    kind: str
    at: int
    to: int = -1


def reach(slots: int, repeats: int) -> int:
    """Longest chain that can be reversed advancing over no step more than ``repeats`` times."""
    return comb(slots + repeats, slots) if repeats >= 0 else 0


def repeats_for(steps: int, slots: int) -> int:
    """How often the steps of a chain must be advanced over, at most."""
    if slots == 1:
        return max(steps - 1, 0)
    repeats = 0
    while reach(slots, repeats) < steps:
        repeats += 1
    return repeats


@lru_cache(maxsize=100_000)
def advances(steps: int, slots: int) -> int:
    """The least number of steps to advance over in order to reverse a chain."""
    if steps < 2:
        return 0
    repeats = repeats_for(steps, slots)
    return repeats * steps - reach(slots + 1, repeats - 1)


def runs(steps: int, slots: int) -> int:
    """The least number of runs of step functions in a gradient: advances, and one record each."""
    return advances(steps, slots) + steps


def split(steps: int, slots: int) -> int:
    """How far to advance from a stored state before the next one is stored."""
    if slots == 1:
        return steps - 1
    repeats = repeats_for(steps, slots)
    return min(reach(slots, repeats - 1), steps - reach(slots - 1, repeats - 1))


def revolve(steps: int, slots: int) -> Iterator[Action]:
    """The optimal schedule for a chain of known length.

    Parameters
    ----------
    steps : int
    slots : int
        States that may be stored at the same time, the initial one included.
    """
    if steps:
        yield Action(STORE, 0)
        yield from _piece(0, steps, slots)


def kept_by(schedule: Iterable[Action]) -> dict[int, bool]:
    """The states that a schedule keeps before it first reverses a step: number -> on disk."""
    kept = {}
    for action in schedule:
        if action.kind == REVERSE:
            break
        if action.kind in (STORE, SPILL):
            kept[action.at] = action.kind == SPILL
    return kept


def reversal(kept: Sequence[int], steps: int, slots: int) -> Iterator[Action]:
    """Reverse the first ``steps`` steps of a chain of which some states are stored.

    Optimal for these states; if :func:`revolve` chose them, optimal altogether.

    Parameters
    ----------
    kept : sequence of int
        The stored states, in ascending order; the first is 0.
    steps : int
    slots : int
        As for :func:`revolve`; at least ``len(kept)``.
    """
    end = steps
    for number in range(len(kept) - 1, -1, -1):
        start = kept[number]
        if start < end:
            yield Action(RESTORE, start)
            yield from _piece(start, end, slots - number)
        else:
            yield Action(DROP, start)
        end = min(start, end)


def _piece(start: int, end: int, slots: int) -> Iterator[Action]:
    """Reverse steps ``start`` to ``end - 1``; state ``start`` is current, and has a slot."""
    while end - start > 1:
        middle = start + split(end - start, slots)
        yield Action(ADVANCE, start, middle)
        if end - middle > 1:
            yield Action(STORE, middle)
            yield from _piece(middle, end, slots - 1)
        else:
            yield Action(REVERSE, middle)
        yield Action(RESTORE, start)
        end = middle
    yield Action(DROP, start)
    yield Action(REVERSE, start)
