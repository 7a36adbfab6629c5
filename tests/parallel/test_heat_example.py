"""The worked example of a decomposed domain gives the same numbers on 1, 2 and 4 ranks."""

from __future__ import annotations

import re
from pathlib import Path

from launched import mpirun

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "heat_2d.py"


def test_objective_adjoint_tangent_and_curvature_are_equal_on_1_2_and_4_ranks():
    printed = []
    for ranks in (1, 2, 4):
        done = mpirun(ranks, [EXAMPLE], env={"OPENBLAS_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[1] == printed[0]
    assert printed[2] == printed[0]
    tangent, adjoint = re.findall(r"(?:tangent|adjoint) (-?\d+\.\d+)", printed[0])
    assert tangent == adjoint
