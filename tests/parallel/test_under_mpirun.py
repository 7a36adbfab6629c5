"""Run the tests of ``tests/mpi`` on several ranks, each set as one test of this process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from launched import mpirun

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 400  # four ranks take 60 on two cores at rest; a test that hangs ends after 60
CLOSING_LINE = re.compile(r"=* ?(\d+ passed.*? in [\d.]+s)")


# `python -m mpi4py` ends the job when one rank's pytest fails; the thread method of pytest-timeout
# is the one that fires inside a blocked MPI call.
PYTEST = ["-m", "mpi4py", "-m", "pytest", "--with-mpi", "-x", "-p", "no:cacheprovider",
          "--timeout-method=thread", "--color=no"]  # fmt: skip


# Several ranks wait for each other by looking, which takes all cores.
@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize(
    "ranks",
    [
        1,
        pytest.param(2, marks=pytest.mark.alone),
        pytest.param(3, marks=[pytest.mark.alone, pytest.mark.slow]),
        pytest.param(4, marks=pytest.mark.alone),
    ],
)
def test_tests_under_mpirun(ranks, launched_set, tmp_path):
    run(tmp_path, ranks, ["--timeout=60", "-m", "not slow", "tests/mpi"], "tests/mpi", launched_set)


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS + 30)
@pytest.mark.parametrize("ranks", [5, 8])
def test_communicators_under_mpirun(ranks, launched_set, tmp_path):
    files = ["tests/mpi/test_collectives.py", "tests/mpi/test_node.py"]
    run(tmp_path, ranks, ["--timeout=120", *files], "communicators", launched_set, 2 * SECONDS)


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS + 30)
def test_large_arrays_under_mpirun(launched_set, tmp_path):
    arguments = ["--timeout=300", "-m", "slow", "tests/mpi/test_large.py"]
    run(tmp_path, 2, arguments, "large arrays", launched_set, 2 * SECONDS)


def run(folder, ranks, arguments, title, launched_set, seconds=SECONDS):
    # The ranks' temporary directories have a place of their own, where nothing is old: several
    # processes that remove the same old ones at the same time disturb each other.
    env = {"PYTEST_DEBUG_TEMPROOT": str(folder)}
    words = [*PYTEST, "-o", "tmp_path_retention_count=1000", *arguments]
    done = mpirun(ranks, words, timeout=seconds, cwd=REPOSITORY, env=env)
    closing = CLOSING_LINE.findall(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-4000:]
    assert closing, done.stdout[-6000:]
    launched_set(f"mpirun -n {ranks}, {title}: {closing[0]} on each rank")
