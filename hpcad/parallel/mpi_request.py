"""A reduction that goes on while the rank computes: MPI requests, after the ranks have agreed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
from mpi4py import MPI

from hpcad.parallel.buffer import narrow
from hpcad.parallel.check import Agreement
from hpcad.parallel.door import Record

Post = Callable[[], list[MPI.Request]]


class Postable(Protocol):
    """What sends its messages when it is told to."""

    def post(self) -> None:
        """Send the messages."""


class Started:
    """The requests of one communicator whose messages wait until all ranks agree about them.

    They are posted in the order in which they were started, which is the same on every rank;
    messages of another order could not meet.

    Parameters
    ----------
    agree : callable or None
        States a call to the other ranks. Without, everything is posted at once.
    """

    def __init__(self, agree: Callable[[Record], Agreement] | None) -> None:
        self._agree = agree
        self._waiting: deque[tuple[Postable, Agreement]] = deque()

    def add(self, request: Postable, record: Record) -> None:
        """Post a request when its turn comes."""
        if self._agree is None:
            request.post()
        else:
            self._waiting.append((request, self._agree(record)))

    def advance(self, wait: bool = False) -> None:
        """Post what may be posted; all of it, with ``wait``."""
        while self._waiting:
            request, agreement = self._waiting[0]
            if not agreement.reached(wait):
                return
            self._waiting.popleft()
            request.post()


class MpiRequest:
    """A reduction under way: one MPI request per chunk.

    Parameters
    ----------
    started : Started
    post : callable
        Sends the messages.
    record : Record
    work, target : ndarray
        What the messages reduce, and where it belongs.
    """

    def __init__(
        self, started: Started, post: Post, record: Record, work: np.ndarray, target: np.ndarray
    ) -> None:
        self._started = started
        self._post = post
        self.record = record
        self._work = work
        self._target = target
        self._requests: list[MPI.Request] | None = None
        self._done = False
        started.add(self, record)

    def post(self) -> None:
        """Send the messages."""
        self._requests = self._post()

    def test(self) -> bool:
        """Let MPI progress; return whether the reduction has ended."""
        if self._done:
            return True
        self._started.advance()
        if self._requests is not None and MPI.Request.Testall(self._requests):
            self._complete()
        return self._done

    def wait(self) -> None:
        """Return when the reduction has ended."""
        if self._done:
            return
        self.record.wait()
        if self._requests is None:
            self._started.advance(wait=True)
        MPI.Request.Waitall(self._requests or [])
        self._complete()

    def _complete(self) -> None:
        self._done, self._requests = True, None
        narrow(self._work, self._target)
        self.record.finish()
