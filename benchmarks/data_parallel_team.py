"""Contenders of data_parallel.py: the ranks of a training, started and asked together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from scaling_launch import OPEN_MPI, mpirun
from step_contenders import KEEPING, SYSTEM

_WORKER = Path(__file__).with_name("data_parallel_worker.py")
_SECONDS = 300.0  # until an answer must have come
_GRACE_SECONDS = 20.0  # that the processes have to leave MPI
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SETTINGS: dict[str, dict[str, str]] = {
    "hpcad": OPEN_MPI,
    # Of this machine's interfaces gloo shall take the one that is fastest between its processes.
    "torch": SYSTEM | KEEPING | {"GLOO_SOCKET_IFNAME": "lo"},
}


class TeamError(RuntimeError):
    """A team could not do what it was asked."""


@dataclass(frozen=True)
class Plan:
    """What a team is.

    Attributes
    ----------
    name : str
    side : {"hpcad", "torch"}
    cores : sequence of int
        One per rank.
    options : dict
        Of the step in hpcad, of DistributedDataParallel in PyTorch.
    """

    name: str
    side: str
    cores: Sequence[int]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def ranks(self) -> int:
        """How many."""
        return len(self.cores)


class Team:
    """The processes of one contender; a context manager that ends them."""

    def __init__(self, plan: Plan, case: str) -> None:
        self.plan = plan
        self._folder = tempfile.TemporaryDirectory()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # close() closes it
        self._processes: list[subprocess.Popen[str]] = []
        self._lines: dict[int, Any] = {}
        try:
            self._start(case)
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **arguments: Any) -> list[dict[str, Any]]:
        """Send a request to all ranks at once, and return their answers in rank order."""
        self.tell(do, **arguments)
        return self.answers()

    def tell(self, do: str, **arguments: Any) -> None:
        """Send a request to all ranks."""
        for line in self._lines.values():
            line.write(json.dumps({"do": do, **arguments}) + "\n")
            line.flush()

    def answers(self) -> list[dict[str, Any]]:
        """Return what all ranks answer to the last request.

        Raises
        ------
        TeamError
            With what the processes said.
        """
        found = [self._answer(self._lines[rank]) for rank in range(self.plan.ranks)]
        for rank, answer in enumerate(found):
            if "error" in answer:
                raise TeamError(f"{self.plan.name}, rank {rank}: {answer['error']}\n{self._said()}")
        return found

    def close(self) -> None:
        """End the processes: they end by themselves when nobody can ask them any more."""
        for line in self._lines.values():
            with contextlib.suppress(OSError):
                line.close()
        for process in self._processes:
            try:
                process.wait(_GRACE_SECONDS if self._lines else 0.0)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._log.close()
        self._folder.cleanup()

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- inside --------------------------------------------------------------------------------

    def _start(self, case: str) -> None:
        address = str(Path(self._folder.name) / "socket")
        spec = {
            "socket": address,
            "store": str(Path(self._folder.name) / "store"),
            "side": self.plan.side,
            "case": case,
            "ranks": self.plan.ranks,
            "cores": list(self.plan.cores),
            "options": self.plan.options,
        }
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(address)
            door.listen(self.plan.ranks)
            door.settimeout(_SECONDS)
            if self.plan.side == "hpcad" and self.plan.ranks > 1:
                self._open([mpirun(), "-n", str(self.plan.ranks)], spec)
            else:
                for rank in range(self.plan.ranks):
                    self._open([], spec | {"rank": rank})
            for _ in range(self.plan.ranks):
                self._welcome(door)

    def _open(self, launcher: list[str], spec: dict[str, Any]) -> None:
        settings = _SETTINGS[self.plan.side] | dict.fromkeys(_THREADS, "1")
        process = subprocess.Popen(
            [*launcher, sys.executable, str(_WORKER), json.dumps(spec)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            text=True,
            env=os.environ | settings,
            start_new_session=True,
        )
        self._processes.append(process)

    def _welcome(self, door: socket.socket) -> None:
        try:
            line, _ = door.accept()
        except TimeoutError:
            raise TeamError(f"{self.plan.name} did not start:\n{self._said()}") from None
        line.settimeout(_SECONDS)
        talk = line.makefile("rw", encoding="utf-8")
        line.close()  # what it made goes on
        self._lines[self._answer(talk)["rank"]] = talk

    def _answer(self, line: Any) -> dict[str, Any]:
        try:
            text = line.readline()
        except TimeoutError:
            text = ""
        if not text:
            raise TeamError(f"{self.plan.name} gave no answer:\n{self._said()}")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _said(self) -> str:
        self._log.seek(0)
        return "\n".join(self._log.read().splitlines()[-20:])
