"""Comparisons: what is called slower, what is not, and how often by mistake."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulated_study import samples, strong, weak, write_run, write_study

from hpcad.errors import ConfigError
from hpcad.scaling.report.comparison import FASTER, LOST, SAME, SLOWER, compare, ratio_of_medians
from hpcad.scaling.report.reading import read_study

POINTS = strong((1, 2), batch=64)
HOW = {"noise": 0.01, "steps": 4}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return read_study(write_study(tmp_path_factory.mktemp("a"), POINTS, **HOW))


def against(reference, directory, points=POINTS, tolerance=0.05, **how):
    return compare(
        reference, read_study(write_study(directory, points, seed=1, **HOW | how)), tolerance
    )


@pytest.mark.parametrize(
    ("factor", "tolerance", "verdict"),
    [
        (1.0, 0.0, SAME),
        (1.2, 0.05, SLOWER),
        (0.8, 0.05, FASTER),
        (1.2, 0.3, SAME),
        (1.1, 0, SLOWER),
    ],
)
def test_verdicts(reference, tmp_path, factor, tolerance, verdict):
    found = against(reference, tmp_path, factor=factor, tolerance=tolerance)
    assert [row["verdict"] for row in found.rows] == [verdict] * 2
    assert found.is_regression == (verdict == SLOWER)
    assert found.level == pytest.approx(0.975)
    for row in found.rows:
        assert row["ratio"]["low"] < factor < row["ratio"]["high"]
        assert row["ratio"]["value"] == pytest.approx(row["b"] / row["a"])


def test_a_slowdown_within_the_scatter_is_not_called_one(reference, tmp_path):
    found = against(reference, tmp_path, factor=1.01, tolerance=0.0, noise=0.05)
    assert not found.is_regression


def test_too_few_runs_have_no_verdict(reference, tmp_path):
    found = against(reference, tmp_path, repeats=5, factor=3.0)
    assert [row["verdict"] for row in found.rows] == ["not judged: fewer than 6 runs"] * 2
    assert (found.is_regression, found.judged) == (False, 0)
    assert found.rows[0]["ratio"]["low"] is found.rows[0]["ratio"]["high"] is None


def test_six_runs_are_too_few_for_many_points():
    """Of 6 and 6 runs, all of one are above all of the other in 2 of 924 cases by chance."""
    times = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    assert math.isinf(ratio_of_medians(times, times, 1 - 0.05 / 24).high)
    assert math.isfinite(ratio_of_medians(times, times, 1 - 0.05 / 23).high)


def test_a_point_that_went_wrong_is_a_regression(reference, tmp_path):
    study = write_study(tmp_path, POINTS[:1], **HOW)
    write_run(study, samples(POINTS[1], 0, np.random.default_rng(0)), "wrong", "the loss differs")
    found = compare(reference, read_study(study), 0.05)
    assert [row["verdict"] for row in found.rows] == [SAME, LOST]
    assert found.is_regression
    assert "strong-p2-b64 run 0 of B is wrong: the loss differs" in found.notices


def test_what_only_one_study_has_is_told(reference, tmp_path):
    environment = {"git": "89abcde"}
    found = against(reference, tmp_path, points=[*POINTS[:1], *weak((2,))], environment=environment)
    assert [row["point"] for row in found.rows] == ["strong-p1-b64"]
    told = "\n".join(found.notices)
    assert "only A has strong-p2-b64" in told
    assert "only B has weak-p2-b128" in told
    assert "A and B differ in environment.git: '0123abc' and '89abcde'" in told


def test_what_cannot_be_compared_is_refused(reference, tmp_path):
    with pytest.raises(ConfigError, match="no point in common"):
        against(reference, tmp_path / "b", points=weak((2,)))
    with pytest.raises(ConfigError, match=r"a share of the step such as 0\.05, not -1"):
        compare(reference, reference, -1.0)


def _slower(random, points, runs, factor, tolerance):
    """Whether a comparison of drawn medians of runs calls some point slower or faster."""
    drawn = np.exp(0.02 * random.standard_normal((points, 2, runs)))
    for a, b in drawn:
        ratio = ratio_of_medians(a.tolist(), (factor * b).tolist(), 1 - 0.05 / points)
        if ratio.low > 1 + tolerance or ratio.high < 1 / (1 + tolerance):
            return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("points", "runs"), [(1, 6), (4, 6), (13, 6), (13, 10)])
def test_equal_studies_differ_in_five_percent_of_comparisons_at_most(points, runs, monkeypatch):
    """400 comparisons: 20 alarms are allowed, and 4 standard deviations of their number."""
    monkeypatch.setattr("hpcad.scaling.report.comparison._DRAWS", 4000)
    random = np.random.default_rng(points + runs)
    alarms = sum(_slower(random, points, runs, 1.0, 0.0) for _ in range(400))
    print(f"{points} points, {runs} runs: {alarms} false alarms in 400")
    assert alarms <= 20 + 4 * math.sqrt(400 * 0.05 * 0.95)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("points", "runs", "least"), [(1, 6, 0.85), (1, 10, 0.95), (4, 10, 0.95)])
def test_a_slowdown_of_ten_percent_is_found(points, runs, least, monkeypatch):
    """Scatter between runs is 2 %, the tolerance 5 %."""
    monkeypatch.setattr("hpcad.scaling.report.comparison._DRAWS", 4000)
    random = np.random.default_rng(points + runs)
    found = sum(_slower(random, points, runs, 1.1, 0.05) for _ in range(200)) / 200
    print(f"{points} points, {runs} runs: found in {found:.1%}")
    assert found >= least
