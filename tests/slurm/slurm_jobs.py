"""Submit batch jobs and wait for their end."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from launched import run_bounded

# Slurm 22.05's pmi2 plugin and the PMI client of the MPICH wheel now and then garble the exchange
# of addresses inside MPI_Init, before any program has begun; the step then aborts or hangs.
# That is not what is tested here: such a job is ended and submitted again.
GARBLED = (
    "mpi/pmi2: invalid client request",
    "MPIDI_UCX_comm_addr_exchange",
    "UCP_OBJECT_VERSION",
)
_ATTEMPTS = 5

_UNFINISHED = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED")


def run_job(
    slurm: Mapping[str, str],
    arguments: Sequence[str | Path],
    directory: Path,
    *,
    timeout: float = 120.0,
) -> tuple[int, str]:
    """Run ``sbatch ARGUMENTS`` in ``directory``; return the job's exit code and its output.

    Skips the test when MPI could not start in any of several attempts.
    """
    for _ in range(_ATTEMPTS):
        code, output = _run_once(slurm, arguments, directory, timeout)
        if not garbled(output):
            return code, output
        (directory / "job.out").unlink()
        time.sleep(1.0)
    pytest.skip(f"Slurm's pmi2 garbled the start of MPI {_ATTEMPTS} times in a row")


def garbled(output: str) -> bool:
    """Whether MPI_Init failed for want of the other ranks' addresses."""
    return any(text in output for text in GARBLED)


def _run_once(
    slurm: Mapping[str, str], arguments: Sequence[str | Path], directory: Path, timeout: float
) -> tuple[int, str]:
    """`sbatch --wait` would do, but it looks only every few seconds."""
    output = directory / "job.out"
    words = ["sbatch", "--parsable", f"--output={output}", *arguments]
    submitted = run_bounded(words, timeout=30, env=slurm, cwd=directory)
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.strip()
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        state, code = state_of(slurm, job)
        if state not in _UNFINISHED:
            return code, output.read_text() if output.exists() else f"no output; {state}"
        if output.exists() and garbled(output.read_text()):
            run_bounded(["scancel", job], timeout=30, env=slurm)  # it may never end by itself
        time.sleep(0.2)
    run_bounded(["scancel", job], timeout=30, env=slurm)
    pytest.fail(f"job {job} is {state} after {timeout} s:\n{output.read_text()}")


def run_step(
    words: Sequence[str | Path], *, timeout: float, env: Mapping[str, str]
) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run an ``srun`` command; one whose start was garbled is run again. Also return its seconds.

    What hangs is cancelled: it must not keep the nodes from the tests that follow.
    """
    for _ in range(_ATTEMPTS):
        started = time.monotonic()
        try:
            done = run_bounded(words, timeout=timeout, env=env)
        except pytest.fail.Exception as failure:
            run_bounded(["scancel", f"--user={os.geteuid()}"], timeout=30, env=env)
            if not garbled(str(failure)):
                raise
        else:
            if not garbled(done.stderr):
                return done, time.monotonic() - started
    pytest.skip(f"Slurm's pmi2 garbled the start of MPI {_ATTEMPTS} times in a row")


def state_of(slurm: Mapping[str, str], job: str) -> tuple[str, int]:
    """Return the state of a job and its exit code."""
    shown = run_bounded(["scontrol", "show", "job", "-o", job], timeout=30, env=slurm)
    state = re.search(r"JobState=(\w+)", shown.stdout)
    code = re.search(r"ExitCode=(\d+):(\d+)", shown.stdout)
    assert state, shown.stdout + shown.stderr
    assert code, shown.stdout
    return state.group(1), int(code.group(1)) or int(code.group(2))
