"""A thread that carries out reductions while the computing thread computes.

A blocking reduction spins in most MPI libraries, and takes half of the core that the computing
thread wants. So the thread starts reductions that do not block, tests them a few times, and
sleeps for a millisecond; and less while the program waits.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hpcad.parallel.communicator import Communicator, Request

# One test moves what fits into the buffers of a connection, or less, so that one in a millisecond
# does not fill a fast network; but after each one this thread must get Python's lock back.
_TESTS = 4
_SLEEP_SECONDS = 1e-3
_SHORT_SECONDS = 5e-5


class CommunicationThread:
    """A daemon thread that reduces arrays in the order in which they were handed over.

    Parameters
    ----------
    communicator : MpiCommunicator
        Collective over it: the thread gets a duplicate, with the same shared memory. Calls are
        still compared between the ranks on the communicator itself, by the computing thread.
    precision : str
        What sums travel in, for the records; empty where nothing is lost.
    make : callable, optional
        Makes of the duplicate what reduces instead of it; collective.

    Attributes
    ----------
    reducer : Reducer
        What the thread starts reductions with. Nobody else may.
    """

    def __init__(
        self, communicator: Any, precision: str = "", make: Callable[[Any], Any] | None = None
    ) -> None:
        self._door, self._agreement = communicator._door, communicator._agreement
        self._checks = communicator._checks
        self._precision = f" in {precision}" if precision else ""
        twin = twin_of(communicator)
        self.reducer = make(twin) if make else twin
        self._work: queue.SimpleQueue[ThreadRequest] = queue.SimpleQueue()
        thread = threading.Thread(
            target=_carry_out,
            args=(self._work, self.reducer),
            name="hpcad communication",
            daemon=True,
        )
        thread.start()

    def iallreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> ThreadRequest:
        """Hand a reduction over; see :class:`Communicator`."""
        detail = f"{op}{self._precision}"
        record = self._door.enter("iallreduce", array.dtype.str, array.size, name, detail, False)
        agreement = self._agreement(record) if self._checks else None
        request = ThreadRequest(array, op, name, record, agreement)
        self._work.put(request)
        return request


class ThreadRequest:
    """A reduction that the communication thread carries out.

    Parameters
    ----------
    array, op, name
        See :meth:`Communicator.allreduce`.
    record : Record
        Of the door.
    agreement : Agreement or None
        Whether all ranks mean the same; only the computing thread asks.
    """

    def __init__(self, array: np.ndarray, op: str, name: str, record: Any, agreement: Any) -> None:
        self.array, self.op, self.name = array, op, name
        self._record, self._agreement = record, agreement
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._request: Request | None = None
        self.awaited = False  # whether the program goes on only when this has ended

    def test(self) -> bool:
        """Whether the reduction has ended."""
        if self._agreement is not None and self._agreement.reached(wait=False):
            self._agreement = None
        return self._agreement is None and self._ended.is_set() and self._closed()

    def wait(self) -> None:
        """Return when the reduction has ended.

        Raises
        ------
        CollectiveError
            The ranks started different ones.
        """
        self.awaited = True
        self._record.wait()
        if self._agreement is not None:
            self._agreement.reached(wait=True)
            self._agreement = None
        self._ended.wait()
        self._closed()

    def start(self, reducer: Any) -> None:
        """Start the reduction; in the communication thread."""
        try:
            self._request = reducer.iallreduce(self.array, self.op, self.name)
        except BaseException as error:  # noqa: BLE001  # whoever waits raises it
            self._end(error)

    def goes_on(self) -> bool:
        """Let the reduction progress; whether it still has to. In the communication thread."""
        try:
            for _ in range(_TESTS):
                if self._request is not None and self._request.test():
                    self._end(None)
        except BaseException as error:  # noqa: BLE001  # as above
            self._end(error)
        return not self._ended.is_set()

    def _end(self, error: BaseException | None) -> None:
        self._error, self._request = error, None
        self._ended.set()

    def _closed(self) -> bool:
        self._record.finish()
        if self._error is not None:
            raise self._error
        return True


def _carry_out(work: queue.SimpleQueue[ThreadRequest], reducer: Any) -> None:
    """Start what is handed over, in order, and test it until it has ended; for ever."""
    under_way: deque[ThreadRequest] = deque()
    while True:
        while not under_way or not work.empty():
            request = work.get()  # sleeps where there is nothing to do
            request.start(reducer)
            under_way.append(request)
        if not under_way[0].goes_on():
            under_way.popleft()
        else:
            time.sleep(_SHORT_SECONDS if under_way[0].awaited else _SLEEP_SECONDS)


def twin_of(communicator: Any) -> Any:
    """The same ranks and shared memory, with messages of their own."""
    from hpcad.parallel.mpi_request import Started  # loads MPI

    comm, label = communicator.comm.Dup(), f"{communicator._door.label}, by thread"
    if communicator.kind == "node":
        twin = type(communicator)(comm, label, communicator.local.Dup())
        twin._windows = communicator._windows
    else:
        twin = type(communicator)(comm, label)
    twin._checks, twin._started = False, Started(None)  # calls are compared where they are made
    return twin


_threads: WeakKeyDictionary[Communicator, dict[str, CommunicationThread]] = WeakKeyDictionary()


def thread_of(
    communicator: Any, precision: str = "", make: Callable[[Any], Any] | None = None
) -> CommunicationThread:
    """The communication thread of a communicator and precision; one for all engines. Collective."""
    threads = _threads.setdefault(communicator, {})
    if precision not in threads:
        threads[precision] = CommunicationThread(communicator, precision, make)
    return threads[precision]
