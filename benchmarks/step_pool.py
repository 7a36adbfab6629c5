"""Contenders in processes of their own.

Each contender has its own process, so its own allocator, thread pools and settings. They never work
at the same time, and all may run on the same cores only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from step_contenders import Contender

WORKER = Path(__file__).with_name("step_worker.py")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerError(RuntimeError):
    """A contender could not do what it was asked."""


class Worker:
    """One contender's process; a context manager that ends it.

    Parameters
    ----------
    contender : Contender
    case : str
    threads : int
        It is bound to as many cores.
    clock : {"wall", "cpu"}
        What its steps are timed by; see step_worker.py.
    """

    def __init__(self, contender: Contender, case: str, threads: int, clock: str = "wall") -> None:
        spec = {
            "case": case,
            "module": contender.module,
            "options": contender.options,
            "threads": threads,
            "clock": clock,
            "cores": cores(threads),
        }
        settings = dict.fromkeys(_THREADS, str(threads)) | contender.environment
        self.start(contender, WORKER, spec, settings)

    def start(
        self, contender: Any, program: Path, spec: dict[str, Any], settings: dict[str, str]
    ) -> None:
        """Start the process: a program that answers requests (see step_worker.py)."""
        self.contender, self.name = contender, contender.name
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # close() closes it
        self.process = subprocess.Popen(
            [sys.executable, str(program), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | settings,
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises
        ------
        WorkerError
            With what the process said.
        """
        pipes: Any = self.process
        try:
            pipes.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            pipes.stdin.flush()
            line = pipes.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": f"the process ended:\n{self._said()}"}
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer

    def _said(self) -> str:
        self.log.seek(0)
        return "\n".join(self.log.read().splitlines()[-20:])

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; again is fine."""
        if self.log.closed:
            return
        self.process.kill()
        self.process.communicate()
        self.log.close()


def cores(threads: int) -> list[int]:
    """The cores for so many threads: the last ones, as the first serves most interrupts."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-threads:]
