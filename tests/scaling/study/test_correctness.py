"""A point is right when its ranks agree and its losses are those of few ranks."""

from __future__ import annotations

import numpy as np
import pytest
from study_files import made_samples

from hpcad.scaling.study.correctness import what_is_wrong
from hpcad.scaling.study.orders import Orders
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.study import CorrectnessSection

WANTED = CorrectnessSection(steps=3, tolerance=1e-3)


def samples(ranks=2, control="none", **changed):
    point = Point("strong", ranks, 8, control=control)
    orders = Orders(point, 0, 6, 1, 1, False, None, {}, "", False, {})
    return made_samples(orders, **changed)


def test_what_agrees_is_right():
    assert what_is_wrong(samples(2), samples(1), WANTED) == ""
    assert what_is_wrong(samples(2, loss=2.001), samples(1), WANTED) == ""
    assert what_is_wrong(samples(1), None, WANTED) == ""


def test_other_losses_are_wrong():
    told = what_is_wrong(samples(2, loss=2.01), samples(1), WANTED)
    assert told.startswith("the loss of step 0 is 2.01, but 2 on 1 rank: they differ by 5.0e-03")


def test_only_the_first_losses_are_compared():
    late = samples(2)
    late.losses[:, 3:] = 9.0
    assert what_is_wrong(late, samples(1), WANTED) == ""
    late.losses[:, 2] = 9.0
    assert "the loss of step 2 is 18" in what_is_wrong(late, samples(1), WANTED)


@pytest.mark.parametrize("control", ["none", "communication off"])
def test_a_loss_that_is_no_number_is_wrong(control):
    lost = samples(2, control)
    lost.losses[1, 4] = np.nan
    assert what_is_wrong(lost, None, WANTED) == "the loss of step 4 is nan"


def test_ranks_that_differ_are_wrong():
    told = what_is_wrong(samples(4, digests=["a", "b", "a", "c"]), samples(1), WANTED)
    assert told == (
        "the ranks do not have the same parameters at the end: rank 1 and 1 others differ from "
        "rank 0"
    )


def test_without_communication_ranks_may_differ():
    assert what_is_wrong(samples(2, "communication off", digests=["a", "b"]), None, WANTED) == ""
