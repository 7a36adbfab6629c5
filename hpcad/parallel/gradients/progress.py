"""Who makes messages move while the rank computes.

MPI moves a started reduction only while somebody is inside of an MPI call. Two ways:

``poll``
    The computing thread itself looks after its requests between two operations of the backward
    pass, every few milliseconds. Costs nothing else; but nothing moves during a long operation.
``thread``
    A communication thread carries out the reductions in the order in which they were started, on a
    communicator of its own, and looks after them every millisecond. It sleeps while there are none.
    It needs ``MPI_THREAD_MULTIPLE``, and some time of the computing thread where no core is spare.

Which of them wins depends on library, network, cores, and on how long the computing thread is away
between two looks, so :func:`choose` tries both (:mod:`hpcad.parallel.gradients.trial`), except
where there is nothing to choose: on a single node the reduction is an addition in shared memory
that one of the node's cores must do anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from hpcad.errors import ConfigError
from hpcad.parallel.communicator import Communicator
from hpcad.parallel.gradients.communication_thread import thread_of
from hpcad.parallel.gradients.trial import POLL_SECONDS, Layout, Reducer, poll, try_ways

__all__ = ["POLL_SECONDS", "Progress", "choose", "poll"]

WAYS = ("auto", "poll", "thread")
_TESTS = 32  # at a time, between nodes: a test moves one buffer of a connection


@dataclass(frozen=True)
class Progress:
    """Who makes progress, and why.

    Attributes
    ----------
    way : str
        ``"poll"`` or ``"thread"``.
    reducer : Reducer
    reason : str
        A clause: "polled, 61 ms against 75 ms by a thread".
    tests : int
        Times to test the requests whenever it is time to poll.
    """

    way: str
    reducer: Reducer
    reason: str
    tests: int = 1


_chosen: WeakKeyDictionary[Communicator, dict[Layout, Progress]] = WeakKeyDictionary()


def choose(communicator: Communicator, thread_level: str, layout: Layout, way: str) -> Progress:
    """Who makes progress for this communicator and layout; tried once, then remembered.

    Collective; equal on every rank.

    Parameters
    ----------
    thread_level : str
        MPI's promise, as in :class:`~hpcad.parallel.World`.
    layout : tuple of tuple of int
        Bytes of each gradient of each message, in the order in which they become ready.
    way : {"auto", "poll", "thread"}

    Raises
    ------
    ConfigError
        An unknown way, or a thread where MPI or the communicator does not allow it.
    """
    if way not in WAYS:
        raise ConfigError(f"progress is one of {', '.join(WAYS)}, not {way!r}")
    obstacle = _obstacle(communicator, thread_level)
    if way == "poll":
        return Progress("poll", communicator, "polled, as asked for", _tests(communicator))
    if way == "thread":
        if obstacle:
            raise ConfigError(
                f"a communication thread was asked for, but {obstacle}; leave progress at 'auto'"
            )
        return Progress("thread", thread_of(communicator), "by a thread, as asked for")
    if obstacle:
        return Progress("poll", communicator, f"polled: {obstacle}", _tests(communicator))
    if _on_one_node(communicator):
        return Progress("poll", communicator, "polled: the ranks share memory")
    chosen = _chosen.setdefault(communicator, {})
    if layout not in chosen:
        chosen[layout] = _try_both(communicator, layout)
    return chosen[layout]


def _obstacle(communicator: Communicator, thread_level: str) -> str:
    if communicator.size == 1:
        return "there is one rank"
    if communicator.kind not in ("mpi", "node", "naive"):
        return f"a {communicator.kind!r} communicator needs no thread"
    if thread_level != "multiple":
        return f"MPI allows {thread_level!r} threads, not 'multiple'"
    return ""


def _tests(communicator: Communicator) -> int:
    """Within a node one test does all there is to do."""
    return 1 if _on_one_node(communicator) else _TESTS


def _on_one_node(communicator: Any) -> bool:
    return communicator.kind == "node" and communicator.across is None


def _try_both(communicator: Communicator, layout: Layout) -> Progress:
    tests, thread = _tests(communicator), thread_of(communicator)
    polled, by_thread = try_ways(communicator, layout, [(communicator, tests), (thread, 1)])
    texts = f"{1e3 * polled:.0f} ms", f"{1e3 * by_thread:.0f} ms"
    if by_thread < polled:
        reason = f"by a thread, {texts[1]} in a trial against {texts[0]} polled"
        return Progress("thread", thread, reason)
    reason = f"polled, {texts[0]} in a trial against {texts[1]} by a thread"
    return Progress("poll", communicator, reason, tests)
