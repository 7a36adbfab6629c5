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
from queue import SimpleQueue
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


class _Outcome(Generic[Result]):
    """What becomes of a job: a result, an error, or neither at the end of the jobs."""

    __slots__ = ("done", "error", "result", "size")

    def __init__(self, size: int = 0) -> None:
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.size = size
        self.done = threading.Lock()  # held until one of them is there
        self.done.acquire()


class _State(Generic[Job, Result]):
    """What threads and their owner share.

    It is made of queues and locks that CPython has in C: a condition in Python would cost more
    than everything else that is done for a batch. A :class:`queue.SimpleQueue` may also be filled
    by the garbage collector at any moment, which happens when a reader is forgotten.
    """

    def __init__(
        self,
        jobs: Iterator[Job],
        work: Callable[[Job], Result],
        size: Callable[[Job], int],
        budget: Budget,
    ) -> None:
        self.jobs, self.work, self.size, self.budget = jobs, work, size, budget
        self.order: SimpleQueue[_Outcome[Result]] = SimpleQueue()  # outcomes as they will be given
        self.returned: SimpleQueue[int] = SimpleQueue()  # bytes of those that were
        self.last: _Outcome[Result] | None = None
        self.stopped = False
        self.turn = threading.Lock()  # of who takes the next job; guards what follows
        self.ahead = self.nbytes = 0
        self.ended = False

    # -- the owner's side ----------------------------------------------------------------------

    def take(self) -> _Outcome[Result]:
        """Wait for the next outcome in order; the last one is given again and again."""
        if self.last is not None:
            return self.last
        outcome = self.order.get()
        outcome.done.acquire()
        if self.stopped:
            outcome = _Outcome()
        if outcome.result is None:
            self.last = outcome
        self.returned.put(outcome.size)
        return outcome

    def stop(self) -> None:
        """Tell the threads to end after the job that they are at, and the owner not to wait."""
        self.stopped = True
        self.returned.put(0)
        self._put_end(None)

    # -- a thread's side -----------------------------------------------------------------------

    def run(self) -> None:
        """Body of a thread."""
        while True:
            with self.turn:
                found = self._next_job()
            if found is None:
                return
            job, outcome = found
            try:
                outcome.result = self.work(job)
            except BaseException as error:  # noqa: BLE001 - next() raises it, with its traceback
                outcome.error = error
            outcome.done.release()
            del job, outcome, found  # the memory of a result is its receiver's, not this thread's

    def _next_job(self) -> tuple[Job, _Outcome[Result]] | None:
        """The next job, once there is room for it; None when there will be none."""
        if not self._wait_for(lambda: self.ahead < self.budget.jobs):
            return None
        try:
            job = next(self.jobs)
            size = self.size(job)
        except StopIteration:
            self._put_end(None)
            return None
        except BaseException as error:  # noqa: BLE001 - as above
            self._put_end(error)
            return None
        fits = self.budget.nbytes - size
        if not self._wait_for(lambda: self.nbytes <= fits or not self.ahead):
            return None
        self.ahead += 1
        self.nbytes += size
        outcome: _Outcome[Result] = _Outcome(size)
        self.order.put(outcome)
        return job, outcome

    def _wait_for(self, room: Callable[[], bool]) -> bool:
        """Wait until results were handed out and there is room; False if the end comes first."""
        while not (self.stopped or self.ended or room()):
            self.nbytes -= self.returned.get()
            self.ahead -= 1
        return not (self.stopped or self.ended)

    def _put_end(self, error: BaseException | None) -> None:
        self.ended = True
        outcome: _Outcome[Result] = _Outcome()
        outcome.error = error
        outcome.done.release()
        self.order.put(outcome)
