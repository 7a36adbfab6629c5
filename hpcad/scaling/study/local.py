"""Run a study on this machine: one mpirun after another, with nothing beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hpcad.launch.mpirun import ON_ONE_MACHINE, OPEN_MPI_DEFAULTS, find_mpirun
from hpcad.scaling.study.journal import Outcome
from hpcad.scaling.study.outcomes import Book
from hpcad.scaling.study.plan import Run, order

PROGRAM = (sys.executable, "-m", "hpcad")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Tell = Callable[[str], None]


def run_locally(book: Book, tell: Tell = print, program: Sequence[str] = PROGRAM) -> list[Outcome]:
    """Run what has not ended well yet; return all outcomes of the plan.

    Parameters
    ----------
    book : Book
    tell : callable
        Gets a line for every run.
    program : sequence of str
        What starts hpcad.
    """
    runs = order(book.loaded.study)
    left = [run for run in runs if not book.done(run)]
    if len(left) < len(runs):
        tell(f"{len(runs) - len(left)} of {len(runs)} runs have ended well before")
    spent = 0.0
    for number, run in enumerate(left, 1):
        outcome = run_once(book, run, program)
        spent += outcome.seconds
        rest = (len(left) - number) * spent / number
        tell(f"[{number}/{len(left)}] {describe(outcome)}; {minutes(rest)} left")
    return [book.outcomes[run] for run in runs]


def run_once(book: Book, run: Run, program: Sequence[str] = PROGRAM) -> Outcome:
    """Start one run, wait for its end, and note it."""
    launch = book.loaded.study.launch
    threads = launch.threads or 1
    orders = book.write_orders(run, threads=threads, pin=launch.pin and not run.reference)
    words = [str(find_mpirun()), "-n", str(run.point.ranks), *program]
    started = time.monotonic()
    failure = execute(
        [*words, "scaling", "point", str(orders)],
        book.files.log(run),
        launch.timeout,
        OPEN_MPI_DEFAULTS | ON_ONE_MACHINE | dict.fromkeys(_THREADS, str(threads)),
    )
    return book.ended(run, failure, time.monotonic() - started)


def execute(words: Sequence[str], log: Path, timeout: float, more: dict[str, str]) -> str:
    """Run a command with its output in a file; return why it did not end well, or nothing.

    It is a process group of its own, so that all of it can be ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        out.write(f"+ {' '.join(words)}\n".encode())
        out.flush()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(os.environ) | more,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"it did not end within {timeout:g} s ([launch] timeout), and was ended"
        finally:
            _end(process)
    return f"it ended with code {code}" if code else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs of a command that we have started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def describe(outcome: Outcome) -> str:
    """A run and what became of it, in a line."""
    told = f"{outcome.run.name}: {outcome.status}"
    if outcome.median is not None and not outcome.run.reference:
        told += f", median step {1e3 * outcome.median:.4g} ms"
    if outcome.reason:
        told += f": {outcome.reason}"
    return f"{told} ({outcome.seconds:.1f} s)"


def minutes(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
