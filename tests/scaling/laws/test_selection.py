"""The choice among laws, and the prediction of a scale that was held out."""

from __future__ import annotations

import numpy as np
import pytest
from scaling_studies import STUDIES, powers

from hpcad.errors import DataError
from hpcad.scaling.laws.fit import fit
from hpcad.scaling.laws.messages import OVERLAP, RING, TREE
from hpcad.scaling.laws.models import AMDAHL, GUSTAFSON, USL
from hpcad.scaling.laws.points import Points
from hpcad.scaling.laws.selection import hold_out, select


@pytest.mark.parametrize("name", ["amdahl", "gustafson", "usl", "overlap"])
def test_the_law_that_made_the_times_is_chosen(name):
    points = STUDIES[name].draw(np.random.default_rng(2))
    found = select([AMDAHL, GUSTAFSON, USL, OVERLAP], points)
    assert found.best.model.name == name
    assert sum(found.weights) == pytest.approx(1)
    assert found.weights == sorted(found.weights, reverse=True)
    assert found.best.aicc == min(one.aicc for one in found.fits)


@pytest.mark.parametrize("name", ["ring", "tree"])
def test_the_algorithm_of_an_allreduce_is_seen(name):
    found = select([RING, TREE], STUDIES[name].draw(np.random.default_rng(2)))
    assert found.best.model.name == name
    assert found.weights[0] > 0.999


def test_aicc_is_the_formula():
    points = STUDIES["usl"].draw(np.random.default_rng(0))
    found = fit(USL, points)
    misses = np.log(found.seconds(points)) - np.log(points.seconds)
    n, k = len(points), 4
    expected = n * np.log((misses**2).mean()) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    assert found.aicc == pytest.approx(expected)


def test_models_that_do_not_fit_the_points_are_named():
    ranks = powers(8, 2)
    found = select([AMDAHL, RING], Points(ranks, 1 / ranks + 0.1))
    assert [one.model for one in found.fits] == [AMDAHL]
    assert "message_bytes" in found.refused["ring"]
    with pytest.raises(DataError, match=r"no model can be fitted to these 2 times: .*'amdahl' has"):
        select([AMDAHL, USL], Points([1, 2], [1.0, 0.5]))


def test_the_largest_scale_is_predicted_by_the_right_law_only():
    points = STUDIES["usl"].draw(np.random.default_rng(4))
    right, wrong = hold_out(USL, points), hold_out(AMDAHL, points)
    largest = points.seconds[points.ranks == 64]
    assert right.ranks == 64
    assert len(right.fit.points) == len(points) - 3
    assert right.measured == pytest.approx([np.exp(np.log(largest).mean())])
    assert right.errors == pytest.approx([right.predicted[0].value / right.measured[0] - 1])
    assert right.is_inside
    assert abs(right.errors[0]) < 0.06
    assert not wrong.is_inside
    assert wrong.errors[0] < -0.1


def test_every_message_size_of_the_largest_scale_is_predicted():
    points = STUDIES["ring"].draw(np.random.default_rng(4))
    found = hold_out(RING, points)
    assert found.ranks == 16
    assert len(found.errors) == 3
    assert np.abs(found.errors).max() < 0.06


def test_a_scale_can_only_be_held_out_when_others_remain():
    with pytest.raises(DataError, match=r"all times were measured on 4 ranks"):
        hold_out(AMDAHL, Points([4] * 6, [1.0] * 6))
    with pytest.raises(DataError, match=r"without the times on 4 ranks, the model 'amdahl' has"):
        hold_out(AMDAHL, Points([1, 2, 4] * 2, [4.0, 2, 1] * 2))
