"""Run the tests of ``tests/mpi`` on several ranks, each set as one test of this process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from launched import mpirun

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 240
CLOSING_LINE = re.compile(r"=* ?(\d+ passed.*? in [\d.]+s)")


@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_tests_under_mpirun(ranks, launched_sets):
    # `python -m mpi4py` ends the job when one rank's pytest fails; the thread method of
    # pytest-timeout is the one that fires inside a blocked MPI call.
    arguments = ["-m", "mpi4py", "-m", "pytest", "--with-mpi", "-x", "-p", "no:cacheprovider"]
    arguments += [
        "--timeout=60",
        "--timeout-method=thread",
        "--color=no",
        "-m",
        "not slow",
        "tests/mpi",
    ]
    done = mpirun(ranks, arguments, timeout=SECONDS, cwd=REPOSITORY)
    closing = CLOSING_LINE.findall(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-4000:]
    assert closing, done.stdout[-6000:]
    launched_sets.append(f"mpirun -n {ranks}, tests/mpi: {closing[0]} on each rank")
