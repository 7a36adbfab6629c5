"""SIGKILL of one rank of three in an MPI job: the job ends, and two ranks go on from there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from launched import mpirun

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = ["-m", "tests.checkpoint.crash.under_mpi"]
SECONDS = 60.0

#: Rank, operation, and which saves may be the newest one afterwards.
FEW = [
    (2, "fsync *.h5", [2]),
    (0, "rename manifest.json", [2]),
]
MANY = [
    (1, "make_directory step-*", [2]),
    (1, "create *.h5", [2]),
    (0, "pwrite *.h5", [2]),
    (2, "close *.h5", [2]),
    (0, "create *.owner", [2]),
    (0, "fsync_directory step-00000030", [2]),
    (0, "create .manifest.json.*", [2]),
    (0, "fsync .manifest.json.*", [2]),
    (0, "fsync_directory step-00000030#2", [3]),
    (0, "create .latest.*", [3]),
    (0, "rename latest", [3]),
    (0, "unlink manifest.json", [3]),
    (0, "unlink *.h5", [3]),
    (0, "rmdir step-00000010", [3]),
]


def lose_a_rank_and_restart(folder: Path, cases: list[tuple[int, str, list[int]]]) -> None:
    places = [folder / str(number) for number in range(len(cases))]
    for place, (rank, operation, _) in zip(places, cases, strict=True):
        # `mpirun` itself fails the test where the job has no end.
        done = mpirun(
            3, [*PROGRAM, "kill", place, rank, operation], timeout=SECONDS, cwd=REPOSITORY
        )
        assert done.returncode != 0, operation
        assert "killed before" in done.stdout, (operation, done.stdout, done.stderr)
        assert "the job went on" not in done.stdout, operation
    done = mpirun(2, [*PROGRAM, "load", *places], timeout=SECONDS, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    expected = [{"loaded": new, "saved": True} for _, _, new in cases]
    assert found == [expected, expected]


def test_a_rank_is_killed_at_the_commit(tmp_path, disrupted):
    lose_a_rank_and_restart(tmp_path, FEW)
    disrupted(len(FEW), f"{len(FEW)} ranks of 3 killed, and as many restarts on 2 ranks")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_rank_is_killed_anywhere(tmp_path, disrupted):
    lose_a_rank_and_restart(tmp_path, MANY)
    disrupted(len(MANY), f"{len(MANY)} ranks of 3 killed, and as many restarts on 2 ranks")
