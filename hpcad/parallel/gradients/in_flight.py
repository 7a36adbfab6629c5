"""The buckets of one backward pass: which of them were started, and which are under way."""

from __future__ import annotations

from collections.abc import Callable

from hpcad.parallel.communicator import Request
from hpcad.parallel.gradients.buckets import Bucket
from hpcad.parallel.gradients.progress import POLL_SECONDS


class InFlight:
    """Starts reductions of buckets, always in the same order: messages could not meet otherwise.

    Parameters
    ----------
    buckets : list of Bucket
        In the order in which backward finishes them.
    start : callable
        Starts the reduction of a bucket; returns its request, or None where it has ended.
    tests : int
        Times to test requests whenever it is time to poll.
    """

    def __init__(
        self, buckets: list[Bucket], start: Callable[[Bucket], Request | None], tests: int
    ) -> None:
        self._buckets, self._start, self._tests = buckets, start, tests
        self.started = 0  # how many buckets
        self._last_poll = 0.0

    def reset(self) -> None:
        """Begin a pass. A frozen parameter is waited for by nobody."""
        self.started = 0
        self._last_poll = 0.0
        for bucket in self._buckets:
            bucket.pending = sum(not p.frozen for p in bucket.parameters)

    def start_complete(self) -> None:
        """Start what is complete, up to the first bucket that is not."""
        while self.started < len(self._buckets) and not self._buckets[self.started].pending:
            self._launch()

    def start_all(self) -> None:
        """Start whatever was not."""
        while self.started < len(self._buckets):
            self._launch()

    def poll(self, now: float) -> None:
        """Let reductions progress, if that was long enough ago.

        Parameters
        ----------
        now : float
            On the clock of :func:`time.perf_counter`.
        """
        if now - self._last_poll > POLL_SECONDS:
            self._last_poll = now
            for _ in range(self._tests):
                if not self._test():
                    return

    def wait(self) -> None:
        """Return when nothing is under way, also what a pass that raised has left."""
        for bucket in self._buckets:
            if bucket.request is not None:
                bucket.request.wait()
                bucket.request = None

    def _launch(self) -> None:
        bucket = self._buckets[self.started]
        self.started += 1
        bucket.zero_unused()
        bucket.request = self._start(bucket)

    def _test(self) -> bool:
        """Look after requests; whether any is under way still."""
        left = False
        for i in range(self.started):
            bucket = self._buckets[i]
            if bucket.request is not None:
                if bucket.request.test():
                    bucket.request = None
                else:
                    left = True
        return left
