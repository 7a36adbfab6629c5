"""A thread that notices when a collective waits too long, and finds out for whom.

Every rank has one. It looks at the door a few times a second; where a call waits for longer than
``HPCAD_TIMEOUT`` seconds (1800 at first), it asks all ranks where they are, prints what they say,
and ends the job; after :data:`WARN_SECONDS` it asks and prints once. It costs nothing until then.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mpi4py import MPI

from hpcad.errors import CollectiveError, ConfigError, user_frame
from hpcad.parallel import door
from hpcad.parallel.communicator import Communicator

LIMIT_SECONDS = 1800.0
WARN_SECONDS = 60.0
_LOOK_SECONDS = 0.2
_ANSWER_SECONDS = 3.0
_ASK, _ANSWER = 1, 2
_Said = dict[str, Any]


def limit(environ: Mapping[str, str]) -> float:
    """Seconds after which a collective that waits ends the job.

    Raises
    ------
    ConfigError
        ``HPCAD_TIMEOUT`` is no positive number.
    """
    text = environ.get("HPCAD_TIMEOUT", "") or str(LIMIT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ConfigError(
            f"HPCAD_TIMEOUT={text!r} is not understood; set it to a number of seconds, e.g. 600"
        )
    return seconds


class Watchdog:
    """Watches the collectives of this process.

    Parameters
    ----------
    communicator : Communicator
        That of the world, which it ends.
    comm : MPI.Comm or None
        For its own questions; None where MPI allows one thread only: then it reports what this
        rank knows.
    seconds : float
        The limit.
    """

    def __init__(
        self, communicator: Communicator, comm: MPI.Intracomm | None, seconds: float
    ) -> None:
        self._communicator, self._comm = communicator, comm
        self._limit = seconds
        self._warned = False
        self._stopped = threading.Event()
        self._main = threading.main_thread().ident
        self._thread = threading.Thread(target=self._run, name="hpcad watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; MPI may be finalized after that."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            self._answer()
            record = door.longest_wait()
            waited = 0.0 if record is None else time.perf_counter() - record.waiting_since
            if record is None:
                self._warned = False
            elif waited > self._limit + self._patience():
                self._end(record, waited)
                return
            elif waited > WARN_SECONDS + self._patience() and not self._warned:
                self._warned = True
                self._write(f"warning: {self._report(record, waited)}")

    def _patience(self) -> float:
        """One rank is to speak for all: rank 0 if it waits too, else the next."""
        return 2 * _ANSWER_SECONDS * float(np.log2(1 + self._communicator.rank))

    def _end(self, record: door.Record, waited: float) -> None:
        self._write(
            f"{self._report(record, waited)}; ending all ranks, because HPCAD_TIMEOUT is "
            f"{self._limit:g} seconds"
        )
        record.give_up()  # what hangs in a device could keep the process from ending
        self._communicator.abort(CollectiveError.exit_code)

    def _write(self, text: str) -> None:
        lead = f"[rank {self._communicator.rank} on {socket.gethostname()}] "
        sys.stderr.write("".join(f"{lead}{line}\n" for line in text.split("\n")))
        sys.stderr.flush()

    # -- questions and answers ---------------------------------------------------------------------

    def _report(self, record: door.Record, waited: float) -> str:
        said = self._ask()
        lines = [
            f"{record.call} (number {record.sequence} of {record.communicator!r}, at "
            f"{record.place}) has waited for {waited:.0f} seconds"
        ]
        waiting = [r for r, x in said.items() if x["waits"] == record.sequence]
        lines += [
            f"  rank {rank} on {x['host']} is elsewhere: it {x['last']}, and is at {x['where']}"
            for rank, x in sorted(said.items())
            if rank not in waiting
        ]
        if record.on_device:  # all may wait there: what the hosts do says more
            lines += [
                f"  rank {rank} on {said[rank]['host']} waits for its device, and is at "
                f"{said[rank]['where']}"
                for rank in sorted(waiting)
            ]
        silent = sorted(set(range(self._communicator.size)) - set(said))
        if silent and self._comm is not None:
            lines.append(f"  no answer from rank {', '.join(map(str, silent))}: stopped, or gone")
        lines.append(f"  {len(waiting)} of {self._communicator.size} ranks wait there")
        return "\n".join(lines)

    def _state(self) -> _Said:
        blocked, last = door.longest_wait(), next(reversed(door.records()), None)
        frame = user_frame(sys._current_frames().get(self._main or 0))
        done = f"last called {last.call} at {last.place}" if last else "has called no collective"
        return {
            "waits": None if blocked is None else blocked.sequence,
            "last": done,
            "where": f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "its end",
            "host": socket.gethostname(),
        }

    def _ask(self) -> dict[int, _Said]:
        said = {self._communicator.rank: self._state()}
        if self._comm is None:
            return said
        others = [rank for rank in range(self._communicator.size) if rank not in said]
        sent = [self._comm.Isend(np.empty(0, np.uint8), rank, _ASK) for rank in others]
        deadline = time.monotonic() + _ANSWER_SECONDS
        while len(said) < self._communicator.size and time.monotonic() < deadline:
            self._answer()
            self._each(_ANSWER, lambda rank, text: said.update({rank: json.loads(text)}))
            time.sleep(0.01)
        for request in sent:
            if not request.Test():
                request.Cancel()
                request.Free()
        return said

    def _answer(self) -> None:
        def reply(rank: int, _text: bytes) -> None:
            assert self._comm is not None  # for the type checker
            text = json.dumps(self._state()).encode()
            self._comm.Isend(np.frombuffer(text, np.uint8), rank, _ANSWER).Wait()

        self._each(_ASK, reply)

    def _each(self, tag: int, use: Callable[[int, bytes], None]) -> None:
        status = MPI.Status()
        while self._comm is not None and self._comm.Iprobe(MPI.ANY_SOURCE, tag, status):
            text = np.empty(status.Get_count(MPI.BYTE), np.uint8)
            self._comm.Recv(text, status.Get_source(), tag)
            use(status.Get_source(), text.tobytes())


def start(
    communicator: Communicator, comm: MPI.Intracomm, environ: Mapping[str, str] = os.environ
) -> Watchdog:
    """Watch the collectives of a job with several ranks. Collective."""
    several = MPI.Query_thread() == MPI.THREAD_MULTIPLE
    return Watchdog(communicator, comm.Dup() if several else None, limit(environ))
