"""A rank that leaves the loop early is found out."""

from __future__ import annotations

from launched import mpirun

PROGRAM = """
import numpy as np
from hpcad import parallel

world = parallel.init()
for step, x in enumerate(parallel.join([np.ones(2)] * 3)):
    if world.is_root and step == 1:
        break
"""


def test_leaving_the_loop_early_is_an_error_on_every_rank():
    done = mpirun(2, ["-c", PROGRAM], timeout=60, env={"HPCAD_TIMEOUT": "20"})
    assert done.returncode != 0
    assert "disagree about collective call" in done.stderr
    assert "allreduce min of 2 x int64 'join'" in done.stderr
    assert "'end of the program'" in done.stderr
