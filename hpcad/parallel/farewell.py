"""The end of a program is a collective, too: a rank that leaves early is missed by the others."""

from __future__ import annotations

import atexit
import sys
from typing import Any

from hpcad.errors import CollectiveError
from hpcad.parallel.abort import report
from hpcad.parallel.communicator import Communicator


def install(communicator: Communicator, watchdog: Any) -> None:
    """At the end of the program, let every rank wait for the others.

    Where others still call collectives, all ranks say so, with the lines, and the job ends.

    Parameters
    ----------
    communicator : Communicator
    watchdog : Watchdog
        Stopped then.
    """

    def leave() -> None:
        from mpi4py import MPI

        if MPI.Is_finalized():
            return
        try:
            communicator.barrier("end of the program")
        except CollectiveError as error:
            sys.stderr.write(report(error, communicator.rank, communicator.size))
            communicator.abort(error.exit_code)
        watchdog.stop()

    atexit.register(leave)
