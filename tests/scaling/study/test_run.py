"""`hpcad scaling run` for real: one and two ranks under mpirun, and a mistake that is found."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from launched import run_bounded
from study_files import STUDY, write_study

from hpcad.scaling.study.files import open_directory
from hpcad.scaling.study.local import run_once
from hpcad.scaling.study.outcomes import Book
from hpcad.scaling.study.plan import Run
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import FACTS, read_samples
from hpcad.scaling.study.study import load_study

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]
ONCE = STUDY.replace("repeats = 2", 'repeats = 1\ncontrols = ["communication off"]')


@pytest.mark.usefixtures("plain_environment")
def test_a_study_from_one_command(tmp_path):
    path = write_study(tmp_path, ONCE)
    command = [sys.executable, "-m", "hpcad", "scaling", "run", path]
    done = run_bounded(command, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 runs that have ended are good" in done.stdout
    lines = [json.loads(text) for text in (tmp_path / "out/runs.jsonl").read_text().splitlines()]
    assert {line["status"] for line in lines} == {"good"}

    found = {line["name"]: read_samples(tmp_path / "out" / line["file"]) for line in lines}
    for name, samples in found.items():
        assert set(FACTS) <= set(samples.facts), name
        check(samples)
    one, two = found["strong-p1-b64-r0"], found["strong-p2-b64-r0"]
    np.testing.assert_allclose(two.loss, one.loss, rtol=1e-4)
    assert one.facts["flops"] == two.facts["flops"] == flops(64)
    assert two.facts["gradient_bytes"] >= 4 * two.facts["parameters"]
    assert (two.communication > 0).all()

    off = found["strong-p2-b64-communication-off-r0"]
    assert (off.communication == 0).all()
    assert off.facts["gradient_bytes"] == 0
    assert off.facts["digests"][0] != off.facts["digests"][1]

    # The same ranks with a mistake in their gradients.
    loaded = load_study(path)
    book = Book(loaded, open_directory(loaded))
    planted = (sys.executable, str(Path(__file__).with_name("planted.py")))
    outcome = run_once(book, Run(Point("strong", 2, 64), 7), planted)
    assert outcome.status == "wrong"
    assert outcome.reason.startswith("the loss of step 1 is")


def check(samples):
    ranks = samples.point.ranks
    assert samples.seconds.shape == (ranks, 12)
    assert samples.warmup == 3
    assert (samples.seconds > 0).all()
    named = sum(samples.phases.values())
    assert (named <= samples.seconds * 1.001).all()
    assert named.sum() > 0.5 * samples.seconds.sum()
    assert {"data wait", "forward", "backward", "optimizer"} <= set(samples.phases)
    facts = samples.facts
    assert len(facts["hosts"]) == len(facts["digests"]) == ranks
    assert facts["parameters"] == 65 * 16 + 17 * 10
    assert 1e8 < facts["peak_flops"] < 1e14
    assert 1e7 < facts["memory_bandwidth"] < 1e13
    assert facts["environment"]["variables"]["OMP_NUM_THREADS"] == "1"
    masks = facts["cpu_masks"]
    if facts["pinned"]:
        assert all(len(mask) == 1 for mask in masks)
        assert len({tuple(mask) for mask in masks}) == ranks
    else:
        assert facts["oversubscribed"]


def flops(batch: int) -> int:
    """Of 64 - 16 - 10 neurons: the first layer needs no gradient in its input."""
    return 2 * batch * (64 * 16 * 2 + 16 * 10 * 3)
