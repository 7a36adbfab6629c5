"""The link between two ranks: the time of a short message, and how fast long ones go each way.

Latency is half of the quickest round trip of 8 bytes. For the bandwidth one rank sends, and the
other answers with 8 bytes when all has arrived; the messages grow until one takes long enough to be
measured, and the quickest of a few counts: what else runs on the hosts can only add to it. The
time without the waits in which one of the two ranks was ready to run and had no core, as far as
Linux tells them, is kept beside it: a crowded host is no slow link.
"""

from __future__ import annotations

import os
import time

import numpy as np

from hpcad.launch.doctor.facts import Link
from hpcad.parallel.communicator import Communicator

SIZES = (1 << 16, 1 << 18, 1 << 20, 1 << 22)  # bytes
_PINGS = 20
_REPEATS = 3
_LONG_ENOUGH = 2e-3  # seconds of one message
_BUDGET = 0.02  # seconds of all messages of one direction, after which no more are sent
_MOST_OFF = 0.9  # of a time may be taken off
_NAME = "measuring a link"


class CoreWait:
    """How long this thread was ready to run and had no core, in nanoseconds.

    Notes
    -----
    The second number of ``/proc/thread-self/schedstat``, of Linux (Documentation/scheduler/
    sched-stats); 0 where there is none.
    """

    def __init__(self, path: str = "/proc/thread-self/schedstat") -> None:
        try:
            self._file: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = None

    def __call__(self) -> int:
        if self._file is None:
            return 0
        fields = os.pread(self._file, 128, 0).split()
        return int(fields[1]) if len(fields) > 1 else 0


def without_waits(seconds: float, *nanoseconds: int) -> float:
    """A time without the waits for a core of the two ranks, which may have been at once."""
    return max(seconds - 1e-9 * sum(nanoseconds), seconds * (1 - _MOST_OFF))


class Exchange:
    """Measures links of this rank, one after the other.

    Parameters
    ----------
    communicator : Communicator
        Whose messages are measured; the door knows of each, and the watchdog of what waits.
    """

    def __init__(self, communicator: Communicator) -> None:
        self._communicator = communicator
        self._long = np.ones(SIZES[-1], np.uint8)
        self._short = np.zeros(1, np.int64)
        self._core_wait = CoreWait()

    def with_peer(self, peer: int, *, repeats: int = _REPEATS) -> Link:
        """Measure the link to another rank, which must do the same at the same time."""
        leads = self._communicator.rank < peer
        latency = self._latency(peer, leads)
        if leads:
            rates = self._sending(peer, repeats)
            self._receiving(peer)
        else:
            self._receiving(peer)
            rates = self._sending(peer, repeats)
        return Link(peer, latency, *rates)

    def _latency(self, peer: int, leads: bool) -> float:
        """Seconds, of the best of a few round trips; both ranks know it."""
        found = np.zeros(1)
        if not leads:
            for _ in range(_PINGS):
                self._answer(self._core_wait(), self._short, peer)
            self._receive(found, peer)
            return float(found[0])
        times = [self._timed(self._short, peer)[0] for _ in range(_PINGS)]
        found[0] = min(times[1:]) / 2  # the first opens the connection
        self._send(found, peer)
        return float(found[0])

    def _sending(self, peer: int, repeats: int) -> tuple[float, float]:
        """Bytes per second of the longest message that was tried, with and without waits."""
        began = time.perf_counter()
        nbytes, times = 0, [(0.0, 0.0)]
        for nbytes in SIZES:
            self._message(peer, nbytes)  # opens connections, empties what had been saved up
            times = [self._message(peer, nbytes)]
            while len(times) < repeats and time.perf_counter() - began < _BUDGET * repeats:
                times.append(self._message(peer, nbytes))
            if min(times)[0] > _LONG_ENOUGH or time.perf_counter() - began > _BUDGET * repeats:
                break
        self._short[0] = 0
        self._send(self._short, peer)
        seconds, undisturbed = map(min, zip(*times, strict=True))
        return nbytes / seconds, nbytes / undisturbed

    def _message(self, peer: int, nbytes: int) -> tuple[float, float]:
        """Announce a message, send it, and wait for the answer; its seconds; see `_timed`."""
        self._short[0] = nbytes
        self._send(self._short, peer)
        return self._timed(self._long[:nbytes], peer)

    def _receiving(self, peer: int) -> None:
        """Take what is announced, until nothing more is."""
        while True:
            self._receive(self._short, peer)
            waited = self._core_wait()
            nbytes = int(self._short[0])
            if nbytes == 0:
                return
            self._answer(waited, self._long[:nbytes], peer)

    def _timed(self, array: np.ndarray, peer: int) -> tuple[float, float]:
        """Seconds from sending until the answer, which says how long the peer had no core.

        All of them, and those without waits.
        """
        before, started = self._core_wait(), time.perf_counter()
        self._send(array, peer)
        self._receive(self._short, peer)
        seconds = time.perf_counter() - started
        waits = (self._core_wait() - before, int(self._short[0]))
        return seconds, without_waits(seconds, *waits)

    def _answer(self, waited: int, array: np.ndarray, peer: int) -> None:
        """Receive, and answer how long this rank had no core meanwhile."""
        self._receive(array, peer)
        self._short[0] = self._core_wait() - waited
        self._send(self._short, peer)

    def _send(self, array: np.ndarray, peer: int) -> None:
        self._communicator.send(array, peer, name=_NAME)

    def _receive(self, array: np.ndarray, peer: int) -> None:
        self._communicator.receive(array, peer, name=_NAME)
