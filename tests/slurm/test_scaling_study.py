"""A scaling study by a real Slurm: submitted, chained, collected, checked."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from launched import run_bounded
from slurm_jobs import garbled

from hpcad.scaling.study.samples import read_samples

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT = 150.0

pytestmark = [pytest.mark.alone, pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(500)]

STUDY = """\
name = "two_points"
job = "digits.toml"
repeats = 1
steps = 8
warmup = 2

[strong]
batch = 64
ranks = [1, 4]

[launch]
launcher = "slurm"
site = "generic"
timeout = 100
"""


@pytest.fixture
def study(tmp_path):
    shutil.copy(REPOSITORY / "jobs" / "digits.toml", tmp_path)
    path = tmp_path / "study.toml"
    path.write_text(f'{STUDY}\n[output]\ndirectory = "{tmp_path / "out"}"\n')
    return path


def test_two_points_are_submitted_and_collected(slurm, mpi_type, study, tmp_path):
    environment = slurm | {"VENV": sys.prefix}
    command = [sys.executable, "-m", "hpcad", "scaling", "run", study]
    submitted = run_bounded(command, timeout=60, env=environment, cwd=tmp_path)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    told = dict(re.findall(r"^job (\d+): .*ranks: (.*)$", submitted.stdout, re.MULTILINE))
    assert len(told) == 3  # one rank, two nodes of two, and the reference
    try:
        chained(slurm, list(told))
        wait_for_end(slurm, list(told), tmp_path / "out" / "logs")
    finally:
        run_bounded(["scancel", *told], timeout=30, env=slurm)

    collected = run_bounded(command, timeout=60, env=environment, cwd=tmp_path)
    assert collected.returncode == 0, collected.stdout + collected.stderr
    assert "2 of 2" not in submitted.stdout
    assert "3 of 3 runs that have ended are good" in collected.stdout
    lines = [json.loads(text) for text in (tmp_path / "out/runs.jsonl").read_text().splitlines()]
    assert {line["status"] for line in lines} == {"good"}
    four = read_samples(tmp_path / "out" / "samples" / "strong-p4-b64-r0.h5")
    assert four.facts["hosts"] == ["n0", "n0", "n1", "n1"]
    assert four.facts["nodes"] == 2
    assert four.facts["environment"]["variables"]["SLURM_JOB_NUM_NODES"] == "2"
    again = run_bounded(command, timeout=60, env=environment, cwd=tmp_path)
    assert "job " not in again.stdout  # nothing is left to submit


def chained(slurm, jobs):
    """Every job waits for the one before, or has done so."""
    shown = run_bounded(["squeue", "--noheader", "--format=%i %E"], timeout=30, env=slurm).stdout
    waiting = dict(line.split(maxsplit=1) for line in shown.splitlines())
    last = waiting.get(jobs[-1], "")
    assert f"afterany:{jobs[-2]}" in last, shown


def wait_for_end(slurm, jobs, logs):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        shown = run_bounded(["squeue", "--noheader", "--format=%i"], timeout=30, env=slurm).stdout
        if any(garbled(path.read_text(errors="replace")) for path in logs.glob("*.log")):
            pytest.skip("Slurm's pmi2 garbled the start of MPI")
        if not set(jobs) & set(shown.split()):
            return
        time.sleep(0.5)
    texts = "\n".join(path.read_text(errors="replace") for path in logs.glob("*.log"))
    pytest.fail(f"jobs {jobs} have not ended within {LIMIT} s:\n{texts}")
