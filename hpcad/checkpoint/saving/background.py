"""Work that runs beside the training."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Worker:
    """A thread that does one job after the other.

    It is started for the first job and kept: whoever starts a thread waits until it runs, which on
    a busy machine takes milliseconds. It ends with its owner, or with the program, which therefore
    has to wait for its jobs first.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._started = False

    def submit(self, work: Callable[[], None]) -> None:
        """Do `work`, which raises nothing, after all that was submitted before."""
        if not self._started:
            thread = threading.Thread(
                target=_serve, args=(self._jobs,), name="checkpoint", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # no more threads: late is better than never
                work()
                return
            self._started = True
            weakref.finalize(self, self._jobs.put, None)
        self._jobs.put(work)


def _serve(jobs: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (work := jobs.get()) is not None:
        work()
        del work  # it holds arrays, and the next one may be long in coming


class Job(Generic[T]):
    """Something to do, by a worker or at once; it must not communicate.

    Parameters
    ----------
    work : callable

    Attributes
    ----------
    error : BaseException or None
        What `work` raised. It is not raised here: the other ranks have to hear of it first.
    result : object or None
        What it returned.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._ended = threading.Event()
        self._ended.set()  # a job that was not started has nothing to be waited for
        self.error: BaseException | None = None
        self.result: T | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, or was not started."""
        return self._ended.is_set()

    def start(self, worker: Worker | None) -> None:
        """Let a worker do it; without one, do it now."""
        self._ended.clear()
        if worker is None:
            self._run()
        else:
            worker.submit(self._run)

    def wait(self) -> None:
        """Return when it is done."""
        self._ended.wait()

    def _run(self) -> None:
        work, self._work = self._work, None
        try:
            if work is not None:
                self.result = work()
        except BaseException as error:  # noqa: BLE001  # raised on all ranks together
            self.error = error
        finally:
            self._ended.set()
