"""The same run on other numbers of ranks; interrupted runs that continue on others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from launched import mpirun

PROGRAM = Path(__file__).parent / "world_program.py"
SAMPLES = 1437
STEPS = 20


def train(ranks, directory, *arguments):
    directory.mkdir(exist_ok=True)
    return mpirun(ranks, [PROGRAM, directory, *arguments], timeout=60)


def losses(directory):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return {row["step"]: row["loss"] for row in map(json.loads, lines)}


def ids(directory, attempt):
    """Step -> ids over all ranks."""
    steps: dict[int, list[int]] = {}
    for path in directory.glob(f"ids-{attempt}-*.txt"):
        for line in path.read_text().splitlines():
            step, *seen = map(int, line.split())
            steps.setdefault(step, []).extend(seen)
    return steps


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-5)])
def test_loss_and_samples_do_not_depend_on_the_number_of_ranks(tmp_path, dtype, rtol):
    """A batch of 50 divides by neither 3 nor 4."""
    curves, samples = [], []
    for ranks in (1, 2, 3, 4):
        directory = tmp_path / str(ranks)
        done = train(ranks, directory, dtype, 50, STEPS, 1000, 0)
        assert done.returncode == 0, done.stderr
        curve = losses(directory)
        assert list(curve) == list(range(1, STEPS + 1))
        curves.append(list(curve.values()))
        samples.append({step: sorted(seen) for step, seen in ids(directory, 0).items()})
    for curve, seen in zip(curves[1:], samples[1:], strict=True):
        np.testing.assert_allclose(curve, curves[0], rtol=rtol)
        assert seen == samples[0]
    assert curves[0][-1] < curves[0][0]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("before", "after"), [(2, 3), (4, 1), (1, 4)])
def test_killed_and_resumed_on_other_ranks_sees_every_sample_once(tmp_path, before, after):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(1, whole, "float64", 64, 0, 5, 0).returncode == 0
    killed = train(before, parts, "float64", 64, 0, 5, 0, before - 1, 13)
    assert killed.returncode != 0
    resumed = train(after, parts, "float64", 64, 0, 5, 1)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed from" in resumed.stdout

    first, second = ids(parts, 0), ids(parts, 1)
    start = min(second)
    assert start in (5, 10)  # the kill may come while the checkpoint of step 10 is written
    seen = [i for step, part in first.items() if step < start for i in part]
    seen += [i for part in second.values() for i in part]
    assert sorted(seen) == list(range(SAMPLES))
    assert losses(parts).keys() == losses(whole).keys()
    np.testing.assert_allclose(
        list(losses(parts).values()), list(losses(whole).values()), rtol=1e-10
    )
