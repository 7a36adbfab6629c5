"""A script of `hpcad slurm generate` on a real Slurm: told to stop, it saves, and is requeued."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest
from launched import run_bounded
from slurm_jobs import garbled

DIGITS = Path(__file__).resolve().parents[2] / "jobs" / "digits.toml"
LIMIT = 60.0

pytestmark = [pytest.mark.alone, pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_job_that_was_told_to_stop_goes_on(slurm, mpi_type, tmp_path):
    environment = slurm | {"VENV": sys.prefix, "OMP_NUM_THREADS": "1"}
    script, log = tmp_path / "train.sbatch", tmp_path / "job.log"
    words = [sys.executable, "-m", "hpcad", "slurm", "generate", DIGITS, "--site", "generic"]
    words += ["--nodes", "2", "--output", script]
    made = run_bounded(words, timeout=60)
    assert made.returncode == 0, made.stderr

    submit = ["sbatch", "--parsable", f"--output={log}", script]
    job = run_bounded(submit, timeout=30, env=environment, cwd=tmp_path).stdout.strip()
    try:
        until(log, r"^step 90: test accuracy")
        # What --signal does shortly before the end: to the ranks, and not to the script.
        run_bounded(["scancel", "--signal=USR1", job], timeout=30, env=slurm)
        until(log, rf"^told to stop, and saved: requeueing job {job}$")
        until(log, r"^checkpoint \S+/step-00000900$")  # the last of 20 epochs
    finally:
        run_bounded(["scancel", job], timeout=30, env=slurm)
    first, second = log.read_text().split("requeueing job")
    assert f"job {job}, start 1," in first
    assert f"job {job}, start 2," in second
    # The epoch that was cut goes on where it was: each ends once.
    ends = [
        re.findall(r"^step (\d+): test accuracy", text, re.MULTILINE) for text in (first, second)
    ]
    assert all(ends)
    assert [int(step) for step in ends[0] + ends[1]] == list(range(45, 901, 45))


def until(log: Path, pattern: str) -> None:
    """Wait for a line of the log."""
    end, text = time.monotonic() + LIMIT, ""
    while time.monotonic() < end:
        text = log.read_text() if log.exists() else ""
        if re.search(pattern, text, re.MULTILINE):
            return
        if garbled(text):
            pytest.skip("Slurm's pmi2 garbled the start of MPI")
        time.sleep(0.2)
    pytest.fail(f"no line {pattern} within {LIMIT} s:\n{text}")
