"""Data-parallel training on random divisions of the batch equals training on the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from launched import mpirun

PROGRAM = Path(__file__).parent / "split_program.py"
TRIALS = 40


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_any_division_of_the_batch_gives_the_step_of_the_whole(ranks):
    done = mpirun(ranks, [PROGRAM, TRIALS], env={"OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{TRIALS} of {TRIALS} agree on {ranks} ranks\n"
