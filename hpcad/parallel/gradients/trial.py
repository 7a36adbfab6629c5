"""A backward pass on trial: messages of an engine behind matrix products, without a model.

What decides between the ways to make progress is how long the computing thread is away between two
looks at its requests. So the trial has the gaps of a backward pass: gradients become ready as in
the engine, and the time before each is proportional to its bytes, as it is in dense layers. The
whole computation takes as long as the messages do alone, since then there is most to gain.

A network that is shaped, or has long buffers, takes the first megabytes at another speed than the
others. So on a slow network the trial is not cut short after those.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from hpcad.parallel.communicator import Communicator, Request

Layout = tuple[tuple[int, ...], ...]
"""Bytes of each gradient of each message, in the order in which they become ready."""

POLL_SECONDS = 0.005  # oftener costs more than it gains
_SECONDS = 0.12  # of messages alone
_BYTES = 1 << 24  # at most, and at most half of it in one message
_LEAST_TRIES, _MOST_TRIES, _TRIES_SECONDS = 3, 8, 0.25
_NAME = "choosing who makes progress"


class Reducer(Protocol):
    """What an engine starts reductions with."""

    def iallreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> Request:
        """Start a reduction in place; see :class:`Communicator`."""


def try_ways(
    communicator: Communicator, layout: Layout, ways: Sequence[tuple[Reducer, int]]
) -> list[float]:
    """Seconds of the same pass in each of the ways, which take turns; medians of a few tries.

    Collective; equal on every rank.

    Parameters
    ----------
    layout : tuple of tuple of int
        As much is taken from its beginning as a trial has time for.
    ways : sequence of (Reducer, int)
        What starts reductions, and how often to test them whenever it is time to poll.
    """
    messages = _Messages(communicator, layout)
    work = _Work(communicator, messages.alone, sum(map(sum, messages.layout)))
    tries = int(_TRIES_SECONDS / max(messages.alone, 1e-6))
    tries = min(max(tries, _LEAST_TRIES), _MOST_TRIES)
    times = np.empty((1 + tries, len(ways)))  # the first time is for warming up
    for i in range(len(times)):
        for j, (reducer, tests) in enumerate(ways):
            communicator.barrier(_NAME)
            started = time.perf_counter()
            _run(reducer, tests, messages, work)
            times[i, j] = time.perf_counter() - started
    communicator.allreduce(times, "max", _NAME)
    return [float(x) for x in np.median(times[1:], axis=0)]


class _Messages:
    """Messages from the beginning of a layout.

    Attributes
    ----------
    layout : Layout
        Of those only.
    arrays : list of ndarray
    alone : float
        Seconds of all of them with nothing to compute; equal on every rank.
    """

    def __init__(self, communicator: Communicator, layout: Layout) -> None:
        cut = [_shortened(gradients, _BYTES // 2) for gradients in layout]
        lengths = np.array([-(-sum(gradients) // 64) * 64 for gradients in cut])
        ends = np.cumsum(lengths)
        count = max(1, int(np.searchsorted(ends, _BYTES, "right")))
        memory = communicator.allocate(int(ends[count - 1]))
        arrays = [memory[end - n : end] for end, n in zip(ends, lengths, strict=True)][:count]
        self.arrays = [array.view(np.float32) for array in arrays]
        communicator.allreduce(self.arrays[0], "sum", _NAME)  # opens connections
        self.alone, seconds = 0.0, np.zeros(1)
        used = 0
        while used < len(self.arrays) and self.alone < _SECONDS:
            communicator.barrier(_NAME)
            started = time.perf_counter()
            communicator.allreduce(self.arrays[used], "sum", _NAME)
            seconds[0] = time.perf_counter() - started
            communicator.allreduce(seconds, "max", _NAME)
            self.alone += float(seconds[0])
            used += 1
        self.layout, self.arrays = tuple(cut[:used]), self.arrays[:used]


def _shortened(gradients: tuple[int, ...], most: int) -> tuple[int, ...]:
    total = sum(gradients)
    return gradients if total <= most else tuple(n * most // total for n in gradients)


class _Work:
    """Matrix products, as a backward pass has.

    Parameters
    ----------
    seconds : float
        That all of them take, on the slowest rank.
    nbytes : int
        Of the gradients among which they are divided.
    """

    def __init__(self, communicator: Communicator, seconds: float, nbytes: int) -> None:
        self._factor = np.full((256, 256), 1 / 256, np.float32)
        self._product = np.empty_like(self._factor)
        self._owed = 0.0
        self._once()
        times = np.empty(9)
        for i in range(len(times)):
            started = time.perf_counter()
            self._once()
            times[i] = time.perf_counter() - started
        one = np.array([np.median(times)])
        communicator.allreduce(one, "max", _NAME)
        self._rate = seconds / float(one[0]) / nbytes

    def gradient(self, nbytes: int) -> None:
        """Compute as long as for a gradient of so many bytes."""
        self._owed += self._rate * nbytes
        while self._owed >= 1:
            self._once()
            self._owed -= 1

    def _once(self) -> None:
        np.matmul(self._factor, self._factor, out=self._product)


def _run(reducer: Reducer, tests: int, messages: _Messages, work: _Work) -> None:
    """A pass that polls when a gradient is ready, which is all that programs do."""
    requests: list[Request] = []
    last = 0.0
    for gradients, array in zip(messages.layout, messages.arrays, strict=True):
        for i, nbytes in enumerate(gradients, 1):
            work.gradient(nbytes)
            if i == len(gradients):
                requests.append(reducer.iallreduce(array, "sum", _NAME))
            now = time.perf_counter()
            if now - last > POLL_SECONDS:
                last = now
                poll(requests, tests)
    for request in requests:
        request.wait()


def poll(requests: Iterable[Request], times: int) -> None:
    """Let requests progress; stop where all have ended."""
    for _ in range(times):
        left = False
        for request in requests:
            left = not request.test() or left
        if not left:
            return
