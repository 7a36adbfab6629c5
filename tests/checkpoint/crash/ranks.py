"""Ranks that are threads of this process: a whole job in a millisecond, stopped wherever one likes.

>>> run(2, lambda communicator: communicator.gather_json(communicator.rank))[1].result
[0, 1]
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.parallel.agreement import agree

_SECONDS = 20.0  # for one collective; a test that hangs has to end
_OPERATIONS = {"sum": np.add, "min": np.minimum, "max": np.maximum}


class Stopped(Exception):  # noqa: N818  # no error: the end of a rank
    """This rank is no more: it does nothing and says nothing from here on."""


@dataclass
class Outcome:
    """How the program of one rank ended."""

    result: Any = None
    error: BaseException | None = None


class _Meeting:
    """Where the ranks of a job meet."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=_SECONDS)
        self.values: list[Any] = [None] * size


class ThreadCommunicator:
    """What checkpoints need of a communicator.

    Attributes
    ----------
    meetings : int
        Collectives that this rank has passed. What one rank did before its n-th lies before what
        any other did after its n-th; nothing else is ordered.
    stopped : bool
        Set to stop this rank at its next collective, and with it the job.
    """

    kind = "threads"

    def __init__(self, rank: int, size: int, meeting: _Meeting) -> None:
        self.rank, self.size = rank, size
        self.meetings = 0
        self.stopped = False
        self._meeting = meeting

    def barrier(self, name: str = "") -> None:
        self._exchange(None)

    def allreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> None:
        array[...] = _OPERATIONS[op].reduce(self._exchange(array.copy()))

    def broadcast(self, array: np.ndarray, root: int = 0, name: str = "") -> None:
        array[...] = self._exchange(array.copy())[root]

    def broadcast_json(self, value: Any, root: int = 0, name: str = "") -> Any:
        return json.loads(self._exchange(json.dumps(value))[root])

    def gather_json(self, value: Any, name: str = "") -> list[Any]:
        return [json.loads(text) for text in self._exchange(json.dumps(value))]

    def agree(self, error: BaseException | None, name: str = "") -> None:
        agree(self, error, name)  # type: ignore[arg-type]  # it uses two collectives

    def leave(self) -> None:
        """Let the others hear that this rank will not come any more."""
        self._meeting.barrier.abort()

    def _exchange(self, value: Any) -> list[Any]:
        meeting = self._meeting
        if self.stopped:
            self.leave()
            raise Stopped
        meeting.values[self.rank] = value
        try:
            meeting.barrier.wait()
            found = list(meeting.values)
            meeting.barrier.wait()
        except threading.BrokenBarrierError:
            self.stopped = True  # as `mpirun` ends the others
            raise Stopped from None
        self.meetings += 1
        return found


def run(size: int, program: Callable[[ThreadCommunicator], Any]) -> list[Outcome]:
    """Run `program` on every rank and return how it ended there, in rank order."""
    meeting = _Meeting(size)
    outcomes = [Outcome() for _ in range(size)]

    def work(rank: int) -> None:
        communicator = ThreadCommunicator(rank, size, meeting)
        try:
            outcomes[rank].result = program(communicator)
        except Exception as error:  # noqa: BLE001  # looked at by the test
            outcomes[rank].error = error
            if isinstance(error, Stopped):
                communicator.leave()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(1, size)]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join(2 * _SECONDS)
        assert not thread.is_alive(), "a rank hangs"
    return outcomes
