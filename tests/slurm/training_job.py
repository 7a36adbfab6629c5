"""A small training job for Slurm: its script, its submission, and what it has left behind."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from launched import run_bounded
from slurm_jobs import garbled, state_of

STEPS = 60
_PACED = Path(__file__).with_name("paced_hpcad.py")
_UNFINISHED = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED")

_JOB = f"""\
name = "small"
seed = 1
[model]
kind = "mlp"
hidden = [16]
[data]
train = "builtin:digits/train"
batch = 32
scale = 0.0625
[optimizer]
kind = "adam"
learning_rate = 2e-3
[training]
steps = {STEPS}
log_every = 10
[checkpoint]
every = 25
[parallel]
bucket_mb = 1 # chosen by measurement it could differ between two runs, and so the last bit
"""

_PROFILE = """\
[site]
title = "the Slurm of the tests"
documentation = ["https://slurm.schedmd.com/srun.html"]
[node]
ranks = 2
[srun]
--mpi = ["{mpi}", "what the library of this environment speaks"]
"""


class Garbled(Exception):  # noqa: N818 - it is no error of what is tested
    """MPI could not start; see :mod:`slurm_jobs`."""


@dataclass(frozen=True)
class Library:
    """An MPI library: the Python that loads it, and the plugin of ``srun`` that it speaks."""

    python: str
    mpi: str


def library(name: str) -> Library:
    """Return an MPI library of this machine that Slurm can start, or skip the test."""
    python = library_without_slurm(name)
    if name == "mpich":
        return Library(python, "pmi2")
    if not Path("/usr/lib/x86_64-linux-gnu/pmix2/lib/libpmix.so").exists():
        pytest.skip("Slurm's PMIx plugin finds no library (apt-get install libpmix-dev)")
    return Library(python, "pmix")


def library_without_slurm(name: str) -> str:
    """Return the Python that loads an MPI library, or skip the test.

    Within the environment of the tests, `make test` makes one with the other library.
    """
    from hpcad.parallel.library import installed_wheel

    if installed_wheel() == name:
        return sys.executable
    python = f"{sys.prefix}/{name}/bin/python"
    if not Path(python).exists():
        pytest.skip(f"there is no {python} (`make test` makes it)")
    return python


class TrainingJob:
    """Scripts of `hpcad slurm generate` for the small job, and the jobs made of them.

    Parameters
    ----------
    slurm : mapping
        The environment in which ``sbatch`` reaches the private Slurm.
    """

    def __init__(self, slurm: Mapping[str, str], library: Library, folder: Path) -> None:
        self.slurm, self.library, self.folder = slurm, library, folder
        program = folder / "venv" / "bin" / "hpcad"
        program.parent.mkdir(parents=True)
        write_job(folder)
        (folder / "site.toml").write_text(_PROFILE.format(mpi=library.mpi))
        program.write_text(f'#!/bin/sh\nexec {library.python} {program_of()} "$@"\n')
        program.chmod(0o755)
        self.jobs: list[str] = []

    def script(self, *settings: str, change: Callable[[str], str] = lambda text: text) -> Path:
        """Return a generated script, changed as a user might."""
        words = [sys.executable, "-m", "hpcad", "slurm", "generate", self.folder / "job.toml"]
        words += ["--site", self.folder / "site.toml", "--nodes", "2"]
        made = run_bounded([*words, *(["--set", *settings] if settings else [])], timeout=60)
        assert made.returncode == 0, made.stderr
        path = self.folder / "train.sbatch"
        path.write_text(change(made.stdout))
        return path

    def submit(self, script: Path, name: str, *options: str, **environment: str) -> Submitted:
        """Submit a script in a directory of its own."""
        folder = self.folder / name
        (folder / "records").mkdir(parents=True)
        variables = {
            **self.slurm,
            "VENV": str(self.folder / "venv"),
            "OMP_NUM_THREADS": "1",
            "RECORDS": str(folder / "records"),
            **environment,
        }
        words = ["sbatch", "--parsable", f"--output={folder}/log", *options, script]
        done = run_bounded(words, timeout=30, env=variables, cwd=folder)
        assert done.returncode == 0, done.stderr
        self.jobs.append(done.stdout.strip())
        return Submitted(self.slurm, self.jobs[-1], folder)

    def cancel(self) -> None:
        """End all jobs that have not ended."""
        run_bounded(["scancel", *self.jobs], timeout=30, env=self.slurm)


@dataclass(frozen=True)
class Submitted:
    """One job in the queue."""

    slurm: Mapping[str, str]
    number: str
    folder: Path

    @property
    def log(self) -> str:
        path = self.folder / "log"
        text = path.read_text() if path.exists() else ""
        if garbled(text):
            raise Garbled
        return text

    def until(self, pattern: str, timeout: float = 180.0) -> None:
        """Wait for a line of the log."""
        self._wait(lambda: re.search(pattern, self.log, re.MULTILINE) is not None, pattern, timeout)

    def end(self, timeout: float = 180.0) -> str:
        """Wait for the end; return the state."""
        self._wait(lambda: bool(self.log) and self.state not in _UNFINISHED, "end", timeout)
        return self.state

    @property
    def state(self) -> str:
        return state_of(self.slurm, self.number)[0]

    def signal(self, name: str) -> None:
        """Send a signal to the ranks, and not to the script, as ``sbatch --signal`` does."""
        done = run_bounded(["scancel", f"--signal={name}", self.number], timeout=30, env=self.slurm)
        assert done.returncode == 0, done.stderr

    def records(self, start: int) -> list[dict]:
        """What each rank ended with at a start, by rank."""
        return records_in(self.folder / "records", start)

    def _wait(self, true: Callable[[], bool], what: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not true():
            if time.monotonic() > end:
                pytest.fail(f"no {what} of job {self.number} in {timeout} s:\n{self.log}")
            time.sleep(0.1)


def write_job(folder: Path) -> None:
    """Write ``job.toml``."""
    (folder / "job.toml").write_text(_JOB)


def program_of() -> Path:
    """The program that takes the place of the command ``hpcad``."""
    return _PACED


def records_in(folder: Path, start: int) -> list[dict]:
    """What each rank has written at a start, by rank."""
    names = sorted(folder.glob(f"start-{start}-rank-*.json"))
    return [json.loads(name.read_text()) for name in names]


def array_hashes(run: Path, step: int = STEPS) -> dict[str, list]:
    """The checksums of every array in a checkpoint: parameters and the optimizer's state."""
    text = (run / "checkpoints" / f"step-{step:08}" / "manifest.json").read_text()
    return {
        array["name"]: [(s["start"], s["count"], s["xxh3_128"]) for s in array["slices"]]
        for array in json.loads(text)["arrays"]
    }


def tried(attempt: Callable[[int], None], times: int = 5) -> None:
    """Make an attempt again when MPI's start was garbled in it; skip the test in the end."""
    for number in range(times):
        try:
            return attempt(number)
        except Garbled:
            time.sleep(1.0)
    pytest.skip(f"Slurm's pmi2 garbled the start of MPI {times} times in a row")
