"""Work that runs beside the training."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Job(Generic[T]):
    """Something to do, in a thread of its own or at once; it must not communicate.

    Its thread ends with the program, which therefore has to wait for it first.

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
        self._work = work
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None
        self.result: T | None = None
        self.done = True  # a job that was not started has nothing to be waited for

    def start(self, *, background: bool) -> None:
        """Do it, in this thread or in another."""
        self.done = False
        if not background:
            self._run()
            return
        thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads: late is better than never
            self._run()
            return
        self._thread = thread

    def wait(self) -> None:
        """Return when it is done."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001  # raised on all ranks together
            self.error = error
        finally:
            self.done = True
