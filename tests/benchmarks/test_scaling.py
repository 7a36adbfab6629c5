"""The scaling studies run under mpirun, and refuse what is wrong."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scaling_common
from launched import mpirun_prefix, run_bounded
from scaling_cases import CASES, make_batches, part
from scaling_common import STRONG, WEAK, WrongResultError, check, run_study, summarise
from scaling_launch import PointError, run_point


def test_the_parts_of_the_ranks_are_the_global_batch() -> None:
    case = CASES["tiny"]
    (whole,) = make_batches(case, 10, part(10, 0, 1), 1)
    parts = [make_batches(case, 10, part(10, rank, 3), 1)[0] for rank in range(3)]
    assert [len(p["x"]) for p in parts] == [3, 3, 4]
    for field in ("x", "y"):
        np.testing.assert_array_equal(np.concatenate([p[field] for p in parts]), whole[field])
    assert abs(float(whole["x"].var()) - 1.0) < 0.1


def result(*losses: float, digests: tuple[str, ...] = ("d", "d")) -> dict[str, Any]:
    """A run of two ranks that share the loss."""
    ranks = [
        {"losses": [x / 2 for x in losses], "seconds": [1.0] * len(losses), "parameters": digest}
        for digest in digests
    ]
    return {"ranks": 2, "per_rank": ranks}


def test_a_point_with_another_loss_is_refused() -> None:
    reference = result(2.0, 1.0)
    assert check(result(2.0, 1.00005), reference) == pytest.approx(5e-5)
    with pytest.raises(WrongResultError, match=r"loss of step 1 differs .* by 2\.0e-04"):
        check(result(2.0, 1.0002), reference)
    with pytest.raises(WrongResultError, match="loss of step 0"):
        check(result(float("nan"), 1.0), reference)


def test_a_point_whose_ranks_disagree_is_refused() -> None:
    with pytest.raises(WrongResultError, match="different parameters"):
        check(result(2.0, digests=("d", "e")), result(2.0))


@pytest.mark.parametrize(("kind", "speedup"), [(STRONG, 1.6), (WEAK, 3.2)])
def test_speedup_and_efficiency(kind: Any, speedup: float) -> None:
    """Step = maximum over ranks: 8 ms on one, 5 ms on two."""
    base = {name: [0.0] * 8 for name in ("forward", "backward", "exposed", "optimizer")}
    one = {"per_rank": [{**base, "seconds": [0.008] * 8}]}
    two = copy.deepcopy(one)
    two["per_rank"].append({**base, "seconds": [0.005] * 8, "exposed": [0.002] * 8})
    two["per_rank"][0]["seconds"] = [0.004] * 8
    options = type("Options", (), {"batch": 4, "threads": 1})
    runs = {("tiny", 1): [one], ("tiny", 2): [two]}
    rows = summarise(kind, runs, "tiny", {1: 0.0, 2: 1e-7}, 1, options)
    assert rows[1]["speedup"] == pytest.approx(speedup)
    assert rows[1]["efficiency"] == pytest.approx(speedup / 2)
    assert rows[1]["exposed"] == pytest.approx(1.0)
    assert [row["oversubscribed"] for row in rows] == [False, True]


@pytest.mark.parametrize("kind", ["strong", "weak"])
def test_a_study_runs_and_agrees_with_one_rank(kind: str, tmp_path: Path) -> None:
    mpirun_prefix(1)  # skips where there is none
    program = Path(scaling_common.__file__).with_name(f"{kind}_scaling.py")
    out = tmp_path / "study.json"
    sizes = ["--models", "tiny", "--ranks", "2", "--steps", "6", "--warmup", "2", "--repeats", "1"]
    done = run_bounded([sys.executable, program, *sizes, "--json", out], timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    rows = found["tables"][0]["rows"]
    assert [row["ranks"] for row in rows] == [1, 2]
    assert [row["global_batch"] for row in rows] == ([24, 24] if kind == "strong" else [12, 24])
    assert all(row["loss_difference"] < 1e-5 and row["steps"] == 6 for row in rows)
    assert rows[1]["exposed"] > 0
    for point in found["points"]:
        for repeat in point["repeats"]:
            assert all(rank["blas_threads"] == [1] for rank in repeat["per_rank"])
    assert "efficiency" in done.stdout


def test_a_batch_smaller_than_the_world_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_study(STRONG, ["--models", "tiny", "--ranks", "4", "--batch", "3"]) == 2
    assert "a batch of 3 cannot be divided among 4 ranks" in capsys.readouterr().err


def test_a_point_that_hangs_is_ended(plain_environment: None) -> None:
    mpirun_prefix(1)
    with pytest.raises(PointError, match=r"no end after 0\.05 s"):
        run_point("tiny", 1, 8, steps=10**6, warmup=0, threads=1, timeout=0.05)
