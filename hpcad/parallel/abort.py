"""An exception on one rank ends the whole job, at once and with its traceback.

Under plain ``mpirun python prog.py`` or ``srun python prog.py`` an exception ends in
MPI_Finalize, which waits for ranks that wait for this one, for ever. :func:`install` replaces
that by a report and MPI_Abort.

``sys.exit(n)`` on one rank does not pass the hook: Python gives no place to see the exit code
before MPI_Finalize. The others then miss that rank, and say so (:mod:`hpcad.parallel.farewell`).
"""

from __future__ import annotations

import socket
import sys
import threading
import traceback
from types import TracebackType

from hpcad.errors import HpcadError
from hpcad.parallel.communicator import Communicator

_INTERRUPTED = 130  # what shells report for a program ended by Ctrl-C


def report(error: BaseException, rank: int, size: int, thread: str = "") -> str:
    """Return the traceback of ``error``, every line led by rank and host.

    Ranks write at the same time, so each line must say whose it is.
    """
    host = socket.gethostname()
    where = f" in thread {thread}" if thread else ""
    lines = [f"uncaught exception{where}; ending all {size} ranks"]
    for text in traceback.format_exception(error):
        lines += text.rstrip("\n").split("\n")
    return "".join(f"[rank {rank} on {host}] {line}\n" for line in lines)


def install(communicator: Communicator) -> None:
    """Let an uncaught exception, in any thread, end the job of ``communicator``.

    The exit code is that of an :class:`HpcadError`, 130 for Ctrl-C, otherwise 1. Does nothing for
    one rank, where Python's own way is right.
    """
    if communicator.size == 1:
        return

    def end(error: BaseException, thread: str = "") -> None:
        text = report(error, communicator.rank, communicator.size, thread)
        try:
            sys.stdout.flush()
            sys.stderr.write(text)  # one write, so that the lines stay together
        except (OSError, ValueError):
            pass  # a closed or broken stream must not keep the job alive
        communicator.abort(exit_code(error))

    def main_hook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        end(error)

    def thread_hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            end(args.exc_value, args.thread.name if args.thread else "unknown")

    sys.excepthook = main_hook
    threading.excepthook = thread_hook


def exit_code(error: BaseException) -> int:
    """Return the exit code that ``error`` stands for."""
    if isinstance(error, HpcadError):
        return error.exit_code
    return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
