"""Reading ahead: what will be asked for is known, so threads fetch it before.

The order of all samples is a pure function, so nothing is guessed: jobs are taken in order, up to
a bound of bytes and of jobs, and the results are handed out in the same order, whichever thread is
done first. (The idea: N. Dryden et al., "Clairvoyant Prefetching for Distributed Machine Learning
I/O", SC21, doi:10.1145/3458817.3476181.)
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Budget:
    """How far to read ahead.

    Attributes
    ----------
    jobs : int
        Results that are ready or being made, at most.
    nbytes : int
        Their bytes, at most; one job may run whatever its size.
    threads : int
        Jobs that are worked on at the same time, at most.
    """

    jobs: int
    nbytes: int
    threads: int


class ReadAhead(Generic[Job, Result]):
    """Works on jobs in threads, and gives the results in order.

    Parameters
    ----------
    jobs : iterator
        Asked by one thread at a time.
    work : callable
        From a job to its result. Neither may hold this object, which could then not be forgotten.
    size : callable
        Bytes of a job's result.
    budget : Budget
    name : str
        Of the threads.

    Examples
    --------
    >>> ahead = ReadAhead(iter(range(4)), lambda n: n * n, lambda n: 8, Budget(2, 1 << 20, 2), "a")
    >>> ahead.next(), ahead.next(), ahead.next(), ahead.next(), ahead.next()
    (0, 1, 4, 9, None)
    """

    def __init__(
        self,
        jobs: Iterator[Job],
        work: Callable[[Job], Result],
        size: Callable[[Job], int],
        budget: Budget,
        name: str,
    ) -> None:
        self._state = _State(jobs, work, size, budget)
        # The threads know the state, not this object: so a forgotten one ends its threads.
        weakref.finalize(self, self._state.stop)
        self._threads = [
            threading.Thread(target=self._state.run, name=name, daemon=True)
            for _ in range(min(budget.threads, budget.jobs))
        ]
        for thread in self._threads:
            thread.start()

    def next(self) -> Result | None:
        """The next result, None after the last.

        Raises
        ------
        BaseException
            What was raised in its place, there or when the job was asked for. Nothing follows it.
        """
        outcome = self._state.take()
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

    def close(self) -> None:
        """End the threads and forget what they have read; may be called twice."""
        self._state.stop()
        for thread in self._threads:
            thread.join()
        self._threads.clear()


@dataclass
class _Outcome(Generic[Result]):
    """What became of a job: a result, an error, or neither at the end of the jobs."""

    result: Result | None = None
    error: BaseException | None = None
    size: int = 0

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return self.result is None


class _State(Generic[Job, Result]):
    """What threads and their owner share."""

    def __init__(
        self,
        jobs: Iterator[Job],
        work: Callable[[Job], Result],
        size: Callable[[Job], int],
        budget: Budget,
    ) -> None:
        self.jobs, self.work, self.size, self.budget = jobs, work, size, budget
        # Reentrant, because stop() may be called by the garbage collector at any moment.
        self.lock = threading.RLock()
        self.room, self.ready = threading.Condition(self.lock), threading.Condition(self.lock)
        self.turn = threading.Lock()  # of who takes the next job, so that budget goes in order
        self.taken = self.given = self.nbytes = 0
        self.outcomes: dict[int, _Outcome[Result]] = {}
        self.ended: _Outcome[Result] | None = None
        self.stopped = False

    # -- the owner's side ----------------------------------------------------------------------

    def take(self) -> _Outcome[Result]:
        """Wait for the next outcome in order; the last one is given again and again."""
        with self.lock:
            self.ready.wait_for(lambda: self.given in self.outcomes or self.stopped)
            if self.stopped:
                return _Outcome()
            outcome = self.outcomes[self.given]
            if not outcome.last:
                del self.outcomes[self.given]
                self.given += 1
                self.nbytes -= outcome.size
                self.room.notify()
            return outcome

    def stop(self) -> None:
        """Tell the threads to end after the job that they are at."""
        with self.lock:
            self.stopped = True
            self.outcomes.clear()
            self.room.notify_all()
            self.ready.notify_all()

    # -- a thread's side -----------------------------------------------------------------------

    def run(self) -> None:
        """Body of a thread."""
        while True:
            with self.turn:
                found = self._next_job()
            if found is None:
                return
            number, job, size = found
            try:
                outcome = _Outcome(self.work(job), size=size)
            except BaseException as error:  # noqa: BLE001 - next() raises it, with its traceback
                outcome = _Outcome(error=error)
            self._put(number, outcome)
            del job, outcome, found  # the memory of a result is its receiver's, not this thread's

    def _next_job(self) -> tuple[int, Job, int] | None:
        """The next job, once there is room for it; None when there will be none."""
        with self.lock:
            self.room.wait_for(self._has_place)
            if self.stopped or self.ended is not None:
                return None
        end: _Outcome[Result] | None = None
        try:
            job = next(self.jobs)
            size = self.size(job)
        except StopIteration:
            end = _Outcome()
        except BaseException as error:  # noqa: BLE001 - as above
            end = _Outcome(error=error)
        if end is not None:
            self.ended = end
            self._put(self.taken, end)
            return None
        with self.lock:
            self.room.wait_for(lambda: self._has_bytes(size))
            if self.stopped:
                return None
            self.nbytes += size
            self.taken += 1
            return self.taken - 1, job, size

    def _has_place(self) -> bool:
        ahead = self.taken - self.given
        return self.stopped or self.ended is not None or ahead < self.budget.jobs

    def _has_bytes(self, size: int) -> bool:
        fits = self.nbytes + size <= self.budget.nbytes or self.taken == self.given
        return self.stopped or fits

    def _put(self, number: int, outcome: _Outcome[Result]) -> None:
        with self.lock:
            if self.stopped:
                return
            self.outcomes[number] = outcome
            if number == self.given:
                self.ready.notify()
