"""Fits: against textbook formulae, recovery of known laws, what cannot be fitted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scaling_studies import STUDIES, powers

from hpcad.errors import DataError
from hpcad.scaling.laws.fit import fit
from hpcad.scaling.laws.least_squares import minimise
from hpcad.scaling.laws.messages import OVERLAP, RING, TREE
from hpcad.scaling.laws.models import (
    AMDAHL,
    GUSTAFSON,
    USL,
    Model,
    Parameter,
    scale,
    speedup,
    usl_peak,
)
from hpcad.scaling.laws.points import Conditions, Points
from hpcad.scaling.laws.student import t_quantile

# Linear in its coordinates, so that the formulae of linear regression are exact.
POWER = Model(
    "power",
    "t = a P^b",
    (scale("a", "s", (1.0,)), Parameter("b", "", -10.0, 10.0, (0.0,))),
    lambda at, a, b: a * np.exp(b * np.log(at.ranks)),
)


@pytest.mark.parametrize(
    ("freedom", "level", "t"),
    [(1, 0.95, 12.7062), (2, 0.95, 4.3027), (4, 0.95, 2.7764), (5, 0.99, 4.0321),
     (10, 0.95, 2.2281), (30, 0.9, 1.6973), (121, 0.95, 1.9798)],
)  # fmt: skip
def test_student_quantiles_are_those_of_the_tables(freedom, level, t):
    assert t_quantile(level, freedom) == pytest.approx(t, abs=5e-5)


def test_intervals_of_a_linear_law_are_the_textbook_ones():
    random = np.random.default_rng(0)
    ranks = powers(32, 2)
    times = 3 * ranks**-0.8 * np.exp(0.05 * random.standard_normal(len(ranks)))
    found = fit(POWER, Points(ranks, times))

    design = np.stack([np.ones(len(ranks)), np.log(ranks)], axis=1)
    expected, squares, _, _ = np.linalg.lstsq(design, np.log(times), rcond=None)
    s = math.sqrt(squares[0] / (len(ranks) - 2))
    covariance = np.linalg.inv(design.T @ design)
    t = t_quantile(0.95, len(ranks) - 2)
    half = t * s * np.sqrt(np.diag(covariance))
    assert found.noise == pytest.approx(s)
    a, b = found.parameters.values()
    got = [math.log(a.low), math.log(a.value), math.log(a.high), b.low, b.value, b.high]
    low, high = expected - half, expected + half
    assert got == pytest.approx(
        [low[0], expected[0], high[0], low[1], expected[1], high[1]], abs=2e-3 * half.min()
    )
    x = np.array([1, math.log(100.0)])
    for repetitions, share in ((1, 1.0), (4, 0.25), (math.inf, 0.0)):
        (predicted,) = found.predict(Conditions([100.0]), repetitions)
        width = t * s * math.sqrt(share + x @ covariance @ x)
        assert math.log(predicted.high / predicted.value) == pytest.approx(width, rel=2e-3)
        assert math.log(predicted.value / predicted.low) == pytest.approx(width, rel=2e-3)


@pytest.mark.parametrize("name", STUDIES)
def test_exact_times_give_the_parameters_back(name):
    study = STUDIES[name]
    at = study.measured
    exact = study.model.seconds(at, *study.truth) * np.ones(at.ranks.shape)
    found = fit(study.model, Points(at.ranks, exact, at.size, at.message_bytes))
    assert list(found.values.values()) == pytest.approx(study.truth, rel=1e-5)
    for value, interval in zip(study.truth, found.parameters.values(), strict=True):
        assert [interval.low, interval.high] == pytest.approx([value, value], rel=1e-4)
    assert found.seconds(study.beyond) == pytest.approx(
        study.model.seconds(study.beyond, *study.truth), rel=1e-5
    )


@pytest.mark.parametrize("name", ["usl", "ring", "overlap"])
def test_no_better_fit_is_near_the_truth(name):
    """The starts do not know the truth; a search from there finds nothing that they missed."""
    study, random = STUDIES[name], np.random.default_rng(6)
    low, high = study.model.bounds
    truth = study.model.coordinates(np.array(study.truth))[None]
    for _ in range(20):
        points = study.draw(random)
        _, (best,) = minimise(study.model.residuals(points), truth, low, high)
        assert fit(study.model, points).squares <= best * (1 + 1e-6)


def test_units_change_nothing_but_units():
    """Weak scaling of 512 samples per rank in milliseconds, against parts of it in seconds."""
    random, ranks = np.random.default_rng(7), powers(128, 4)
    times = OVERLAP.seconds(Conditions(ranks, ranks, 1e8), 0.1, 2e-4, 2e9, 0.9)
    times = times * np.exp(0.01 * random.standard_normal(len(ranks)))
    found = fit(OVERLAP, Points(ranks, times, ranks, 1e8)).parameters
    other = fit(OVERLAP, Points(ranks, 1e3 * times, 512 * ranks, 1e8 / 4)).parameters
    factors = {"work": 1e3 / 512, "alpha": 1e3, "bandwidth": 1 / 4e3, "hidden": 1.0}
    assert 0.9 in found["hidden"]
    for name, factor in factors.items():
        one, two = found[name], other[name]
        assert [two.value, two.low, two.high] == pytest.approx(
            [factor * one.value, factor * one.low, factor * one.high], rel=1e-3
        )


def test_laws_have_the_values_that_their_papers_state():
    assert speedup(AMDAHL, 1024, [0.01]) == pytest.approx(1 / (0.01 + 0.99 / 1024))
    assert speedup(GUSTAFSON, 1024, [0.01]) == pytest.approx(0.01 + 0.99 * 1024)
    assert speedup(USL, 32, [0.05, 0.001]) == pytest.approx(32 / (1 + 0.05 * 31 + 0.001 * 32 * 31))
    assert speedup(USL, 64, [0.02, 0.0]) == pytest.approx(speedup(AMDAHL, 64, [0.02]))
    peak = usl_peak(0.05, 0.001)
    around = speedup(USL, np.array([0.9, 1.0, 1.1]) * peak, [0.05, 0.001])
    assert around.argmax() == 1
    assert usl_peak(0.05, 0.0) == math.inf
    at = Conditions([2, 4, 5], 1.0, 1e6)
    assert RING.seconds(at, 1e-5, 1e9) == pytest.approx([1.02e-3, 1.56e-3, 1.68e-3])
    assert TREE.seconds(at, 1e-5, 1e9) == pytest.approx([2.02e-3, 4.04e-3, 6.06e-3])
    # 0.1 s on each of 4 ranks hide 1 ms of the ring's 1.56 ms; one rank sends nothing.
    shown = OVERLAP.seconds(Conditions([1, 4], [1, 4], 1e6), 0.1, 1e-5, 1e9, 0.01)
    assert shown == pytest.approx([0.1, 0.10056])


def test_a_parameter_at_its_bound_has_an_interval_that_ends_there():
    random = np.random.default_rng(5)
    ranks = powers(32, 3)
    times = 1 / ranks * np.exp(0.02 * random.standard_normal(len(ranks)))
    sigma = fit(USL, Points(ranks, times)).parameters["sigma"]
    assert 0 == sigma.low <= sigma.value < sigma.high < 0.02


def test_a_latency_too_short_to_be_seen_is_not_bounded_from_below():
    random = np.random.default_rng(1)
    ranks = powers(16, 4, least=2)
    at = Conditions(ranks, 1.0, 1e8)
    exact = RING.seconds(at, 1e-9, 1e9)
    times = exact * np.exp(0.02 * random.standard_normal(len(ranks)))
    found = fit(RING, Points(ranks, times, 1.0, 1e8)).parameters
    assert found["alpha"].low == 0
    assert 1e-9 < found["alpha"].high < 1e-2
    assert 1e9 in found["bandwidth"]


def test_bounds_hold_in_the_search():
    def residuals(at):
        return np.stack([at[..., 0] - 3, at[..., 0] * at[..., 1] - 1], axis=-1)

    low, high = np.array([0.0, 0.0]), np.array([2.0, 0.25])
    at, sums = minimise(residuals, np.array([[0.5, 0.1], [2.0, 0.0]]), low, high)
    assert at == pytest.approx(np.array([[2.0, 0.25]] * 2))
    assert sums == pytest.approx(1.25)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "points", "told"),
    [
        (USL, Points([1, 2, 4], [4, 2, 1]), r"'usl' has 3 parameters and needs 6 times at 4 .*but"),
        (AMDAHL, Points([1, 2] * 9, [2, 1] * 9), r"18 times at 2; measure at more numbers"),
        (RING, Points([2, 4, 8] * 2, [1.0, 2, 3] * 2), r"'ring' needs message_bytes, the bytes"),
        (TREE, Points([1, 2, 4, 8, 16], [1.0] * 5, 1, 8), r"nothing of 1 rank; leave these"),
        (
            TREE,
            Points([2, 4, 8, 16, 32], [1.0, 2, 3, 4, 5.1], 1, 1e6),
            r"do not tell alpha and bandwidth of the model 'tree'.*more message sizes",
        ),
        (
            OVERLAP,
            Points([1, 2, 4, 8, 16, 32, 64], 1 / np.array([1, 2, 4, 8, 16, 32, 64]), 1, 1),
            r"do not tell .*hidden of the model 'overlap'.*more ranks for a step",
        ),
    ],
)
def test_what_cannot_be_fitted_is_told(model, points, told):
    with pytest.raises(DataError, match=told):
        fit(model, points)


def test_a_level_is_a_probability():
    with pytest.raises(DataError, match=r"probability such as 0.95, not 95"):
        fit(AMDAHL, Points([1, 2, 4, 8, 16], [5.0, 4, 3, 2, 1]), level=95)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"seconds": [1.0, 0.0]}, r"seconds must be finite and positive, but entry 1 is 0"),
        ({"seconds": [1.0, math.nan]}, r"entry 1 is nan; leave failed measurements out"),
        ({"ranks": [0, 1]}, r"ranks must be finite and at least 1, but entry 0 is 0"),
        ({"ranks": [1, 2, 3]}, r"ranks has the shape \(3,\), but there are 2 times"),
        ({"size": "large"}, r"size must be numbers, not"),
        ({"seconds": []}, r"give a list of times"),
    ],
)
def test_bad_points_are_refused(values, told):
    with pytest.raises(DataError, match=told):
        Points(**{"ranks": [1, 2], "seconds": [1.0, 0.5], **values})
