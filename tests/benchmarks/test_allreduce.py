"""The table of reductions has a row for every way there is, and says which one is missing."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from launched import mpirun

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "allreduce.py"


def test_gloo_has_a_row_or_a_line_says_why_not(tmp_path):
    file = tmp_path / "found.json"
    words = [str(PROGRAM), "--sizes", "1KB,16KB", "--rounds", "2", "--json", str(file)]
    done = mpirun(2, words, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [row["bytes"] for row in rows] == [1 << 10, 1 << 14]
    torch = find_spec("torch") is not None
    for row in rows:
        ways = {"MPI_Allreduce", "mpi", "node", "naive", "numpy add"}
        assert set(row["seconds"]) == ways | ({"torch gloo"} if torch else set())
        assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in row["seconds"].values())
    assert ("torch gloo is left out" in done.stdout) is not torch
