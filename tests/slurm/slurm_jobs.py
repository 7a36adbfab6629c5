"""Submit batch jobs and wait for their end."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from launched import run_bounded

_UNFINISHED = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED")


def run_job(
    slurm: Mapping[str, str],
    arguments: Sequence[str | Path],
    directory: Path,
    *,
    timeout: float = 120.0,
) -> tuple[int, str]:
    """Run ``sbatch ARGUMENTS`` in ``directory``; return the job's exit code and its output.

    `sbatch --wait` would do, but it looks only every few seconds.
    """
    output = directory / "job.out"
    words = ["sbatch", "--parsable", f"--output={output}", *arguments]
    submitted = run_bounded(words, timeout=30, env=slurm, cwd=directory)
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.strip()
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        state, code = _state(slurm, job)
        if state not in _UNFINISHED:
            return code, output.read_text() if output.exists() else f"no output; {state}"
        time.sleep(0.2)
    run_bounded(["scancel", job], timeout=30, env=slurm)
    pytest.fail(f"job {job} is {state} after {timeout} s:\n{output.read_text()}")


def _state(slurm: Mapping[str, str], job: str) -> tuple[str, int]:
    shown = run_bounded(["scontrol", "show", "job", "-o", job], timeout=30, env=slurm)
    state = re.search(r"JobState=(\w+)", shown.stdout)
    code = re.search(r"ExitCode=(\d+):(\d+)", shown.stdout)
    assert state, shown.stdout + shown.stderr
    assert code, shown.stdout
    return state.group(1), int(code.group(1)) or int(code.group(2))
