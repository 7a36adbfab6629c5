"""Who makes messages move while the rank computes.

MPI moves a started reduction only while somebody is inside of an MPI call. Two ways:

``poll``
    The computing thread itself looks after its requests between two operations of the backward
    pass, every few milliseconds. Costs nothing else; but nothing moves during a long operation.
``thread``
    A communication thread carries out the reductions in the order in which they were started, on a
    communicator of its own, and looks after them every millisecond. It sleeps while there are none.
    It needs ``MPI_THREAD_MULTIPLE``, and some time of the computing thread where no core is spare.

Which of them wins depends on library, network and cores, so :func:`choose` tries both, except where
there is nothing to choose: on a single node the reduction is an addition in shared memory that one
of the node's cores must do anyway.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from hpcad.errors import ConfigError
from hpcad.parallel.communication_thread import thread_of
from hpcad.parallel.communicator import Communicator, Request
from hpcad.parallel.fit import Fit

WAYS = ("auto", "poll", "thread")
POLL_SECONDS = 0.005  # oftener costs more than it gains
_TRIAL_SECONDS = 0.06  # of communication, behind as much computation
_TRIAL_BYTES = 1 << 23  # at most
_MESSAGES, _TRIES = 8, 3
_TESTS = 32  # at a time, between nodes: a test moves one buffer of a connection
_NAME = "choosing who makes progress"


class Reducer(Protocol):
    """What an engine starts reductions with."""

    def iallreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> Request:
        """Start a reduction in place; see :class:`Communicator`."""


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


_chosen: WeakKeyDictionary[Communicator, Progress] = WeakKeyDictionary()


def choose(communicator: Communicator, thread_level: str, fit: Fit, way: str) -> Progress:
    """Who makes progress for this communicator; tried at the first call, then remembered.

    Collective; equal on every rank.

    Parameters
    ----------
    thread_level : str
        MPI's promise, as in :class:`~hpcad.parallel.World`.
    fit : Fit
        Of the communicator's reductions: says how long the trial's messages should be.
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
    if communicator not in _chosen:
        _chosen[communicator] = _try_both(communicator, fit)
    return _chosen[communicator]


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


def _try_both(communicator: Communicator, fit: Fit) -> Progress:
    """Send a few messages behind some matrix products, both ways in turn."""
    wanted = (_TRIAL_SECONDS / _MESSAGES - fit.alpha) / fit.beta
    nbytes = int(min(max(wanted, 1 << 16), _TRIAL_BYTES / _MESSAGES)) & ~63
    memory = communicator.allocate(nbytes * _MESSAGES).view(np.float32)
    messages = memory.reshape(_MESSAGES, -1)
    reducers: list[tuple[Reducer, int]] = [
        (communicator, _tests(communicator)),
        (thread_of(communicator), 1),
    ]
    work = _Work()
    products = work.times(communicator, _alone(communicator, messages))
    times = np.empty((_TRIES + 1, len(reducers)))
    for i in range(len(times)):
        for j, (reducer, tests) in enumerate(reducers):
            communicator.barrier(_NAME)
            times[i, j] = _trial(reducer, tests, messages, work, products)
    communicator.allreduce(times, "max", _NAME)
    poll, thread = (float(x) for x in np.median(times[1:], axis=0))
    if thread < poll:
        reason = f"by a thread, {1e3 * thread:.0f} ms in a trial against {1e3 * poll:.0f} ms polled"
        return Progress("thread", reducers[1][0], reason)
    reason = f"polled, {1e3 * poll:.0f} ms in a trial against {1e3 * thread:.0f} ms by a thread"
    return Progress("poll", communicator, reason, _tests(communicator))


def _alone(communicator: Communicator, messages: np.ndarray) -> float:
    """Seconds of the messages with nothing to compute; the slowest rank's."""
    seconds = np.zeros(1)
    for _ in range(2):  # the first time opens connections
        communicator.barrier(_NAME)
        started = time.perf_counter()
        for message in messages:
            communicator.allreduce(message, "sum", _NAME)
        seconds[0] = time.perf_counter() - started
    communicator.allreduce(seconds, "max", _NAME)
    return float(seconds[0])


class _Work:
    """Matrix products, as a backward pass has."""

    def __init__(self) -> None:
        self._factor = np.full((512, 512), 1 / 512, np.float32)
        self._product = np.empty_like(self._factor)

    def once(self) -> None:
        """Multiply two matrices of 512 x 512."""
        np.matmul(self._factor, self._factor, out=self._product)

    def times(self, communicator: Communicator, seconds: float) -> int:
        """How many products take so long, on the slowest rank."""
        self.once()
        started = time.perf_counter()
        for _ in range(4):
            self.once()
        one = np.array([(time.perf_counter() - started) / 4])
        communicator.allreduce(one, "max", _NAME)
        return max(2 * _MESSAGES, int(min(seconds, 4 * _TRIAL_SECONDS) / float(one[0])))


def _trial(reducer: Reducer, tests: int, messages: np.ndarray, work: _Work, products: int) -> float:
    """Seconds of a backward pass, as it were: two gradients are ready before each message."""
    started = time.perf_counter()
    requests: list[Request] = []
    ready = 0
    for i in range(products):
        work.once()
        if i * 2 * _MESSAGES >= ready * products:
            ready += 1
            if ready % 2 == 0:
                requests.append(reducer.iallreduce(messages[len(requests)], "sum", _NAME))
            poll(requests, tests)  # an engine has no other occasion
    for request in requests:
        request.wait()
    return time.perf_counter() - started


def poll(requests: Iterable[Request], times: int) -> None:
    """Let requests progress; stop where all have ended."""
    for _ in range(times):
        left = False
        for request in requests:
            left = not request.test() or left
        if not left:
            return
