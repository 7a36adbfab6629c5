"""The figures of a report against closed forms, and laws against the parameters of the data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from simulated_study import (
    BANDWIDTH,
    FLOPS_PER_SAMPLE,
    GRADIENT_BYTES,
    KAPPA,
    PEAK,
    SHARES,
    SIGMA,
    T1,
    UNDER_WAY,
    samples,
    step_seconds,
    strong,
    weak,
    write_run,
    write_study,
)

from hpcad.errors import DataError
from hpcad.scaling.laws.models import USL, speedup, usl_peak
from hpcad.scaling.report.reading import read_study
from hpcad.scaling.report.report import make_report
from hpcad.scaling.study.point import Point


def report(directory, *arguments, oversubscribed=False, **how):
    return make_report(read_study(write_study(directory, *arguments, **how)), oversubscribed)


def test_without_noise_every_figure_is_that_of_its_formula(tmp_path):
    found = report(tmp_path, [*strong((1, 2, 8)), *weak((1, 8))], steps=17)
    json.dumps(found, allow_nan=False)
    assert [one["name"] for one in found["series"]] == [
        "strong, batch 256", "weak, batch 64 per rank"
    ]  # fmt: skip
    for one in found["series"]:
        for row in one["points"]:
            p, batch = row["ranks"], row["batch"]
            t = step_seconds(Point(row["sweep"], p, batch))
            expected = {
                "mean": t, "p95": t, "p99": t,
                "samples_per_second": batch / t,
                "flops_per_second": FLOPS_PER_SAMPLE * batch / t,
                "peak_share": FLOPS_PER_SAMPLE * batch / t / (p * PEAK),
                "imbalance": 1.0,
                "work_imbalance": 1.0,
                "communication": UNDER_WAY * t if p > 1 else 0.0,
                "exposed": SHARES["exposed communication"] * t if p > 1 else 0.0,
                "hidden": (UNDER_WAY - SHARES["exposed communication"]) * t if p > 1 else 0.0,
            }  # fmt: skip
            assert {key: row[key] for key in expected} == pytest.approx(expected, 1e-9, 1e-15)
            ends = [row["median"][end] for end in ("low", "value", "high")]
            assert ends == pytest.approx([t] * 3)
            assert row["median"]["basis"] == "repetitions"
            perfect = float(speedup(USL, p, [SIGMA, KAPPA])) / p
            assert row["efficiency"]["value"] == pytest.approx(perfect)
            assert row["local_batch"] == [batch // p] * 2
            assert row["nodes"] == -(-p // 4)
            if p == 1:
                assert row["algbw"] is row["busbw"] is None
            else:
                assert row["algbw"] == pytest.approx(GRADIENT_BYTES / (UNDER_WAY * t))
                assert row["busbw"] == pytest.approx(row["algbw"] * 2 * (p - 1) / p)


def test_phases_sum_to_the_step(tmp_path):
    rows = report(tmp_path, strong((2, 4)), repeats=2, noise=0.1)["series"][0]["points"]
    for row in rows:
        phases = row["phases"]
        assert sum(phases["rows"].values()) == pytest.approx(phases["step"])
        assert phases["step"] == pytest.approx(row["mean"])
        assert phases["rows"]["imbalance"] > 0
        work = phases["step"] - phases["rows"]["imbalance"]
        for name, share in SHARES.items():
            assert phases["rows"][name] == pytest.approx(share * work)
        assert phases["rows"]["other"] == pytest.approx((1 - sum(SHARES.values())) * work)


def test_phases_that_count_time_twice_are_refused_by_name(tmp_path):
    (point,) = strong((2,))
    study = write_study(tmp_path, [])
    run = samples(point, 0, np.random.default_rng(0))
    run.phases["forward"] = 1.0 * run.phases["forward"] + 0.08 * run.seconds
    write_run(study, run)
    with pytest.raises(DataError, match=r"phases of strong-p2-b256 sum to 103.0 % of its step"):
        make_report(read_study(study))
    run.phases["forward"] -= 0.02 * run.seconds
    write_run(study, run)
    error = make_report(read_study(study))["series"][0]["points"][0]["phases"]["error"]
    assert error == pytest.approx(0.01)


def test_a_slow_rank_shows_as_imbalance_of_work_where_waiting_hides_it(tmp_path):
    """Both ranks end together, since the fast one waits in the reduction."""
    (point,) = strong((2,))
    study = write_study(tmp_path, [])
    run = samples(point, 0, np.random.default_rng(0))
    exposed = run.phases["exposed communication"]
    exposed[0], exposed[1] = 0.25 * run.seconds[0], 0.0
    run.phases["forward"] -= 0.1 * run.seconds
    write_run(study, run)
    row = make_report(read_study(study))["series"][0]["points"][0]
    assert row["imbalance"] == pytest.approx(1.0)
    assert row["work_imbalance"] == pytest.approx(1 / 0.875)


def test_laws_find_the_parameters_and_predict_the_largest_scale(tmp_path):
    found = report(tmp_path, strong((1, 2, 4, 8, 16, 32)), noise=0.005, seed=1)
    fits = found["series"][0]["fits"]
    assert (fits["times"], fits["settings"]) == (36, 6)
    by_name = {model["model"]: model for model in fits["models"]}
    assert set(by_name) == {"amdahl", "gustafson", "usl", "overlap"}
    assert sum(model["weight"] for model in fits["models"]) == pytest.approx(1)
    assert by_name["usl"]["weight"] > 0.1 > by_name["amdahl"]["weight"]
    for name, truth in {"t1": T1, "sigma": SIGMA, "kappa": KAPPA}.items():
        interval = by_name["usl"]["parameters"][name]
        assert interval["low"] < truth < interval["high"]
        assert interval["high"] - interval["low"] < truth
    peak = by_name["usl"]["peak"]
    assert peak["low"] < usl_peak(SIGMA, KAPPA) < peak["high"]
    sigma, kappa = (by_name["usl"]["parameters"][name] for name in ("sigma", "kappa"))
    for end, other in (("value", "value"), ("low", "high"), ("high", "low")):
        assert peak[end] == pytest.approx(usl_peak(sigma[other], kappa[other]))
    held = by_name["usl"]["held_out"]
    assert held["ranks"] == 32
    assert abs(held["errors"][0]) < 0.05
    assert abs(by_name["gustafson"]["held_out"]["errors"][0]) > 0.2


def test_too_few_settings_are_refused_in_words(tmp_path):
    found = report(tmp_path, strong((1, 2)))
    fits = found["series"][0]["fits"]
    assert fits["models"] == []
    assert "needs 5 times at 3 different" in fits["refused"]["amdahl"]
    assert "the model 'ring'" in found["communication"]["refused"]["ring"]


def test_oversubscribed_points_are_labelled_and_fitted_only_when_asked(tmp_path):
    study = write_study(tmp_path, strong((1, 2)))
    for repeat in range(6):
        for point in strong((4,)):
            run = samples(point, repeat, np.random.default_rng(0), oversubscribed=True)
            write_run(study, run)
    found = make_report(read_study(study))
    assert found["series"][0]["fits"]["left_out"] == ["strong-p4-b256"]
    assert found["series"][0]["fits"]["settings"] == 2
    assert "ranks share cores (oversubscribed) in strong-p4-b256" in found["notices"]
    asked = make_report(read_study(study), oversubscribed=True)["series"][0]["fits"]
    assert (asked["left_out"], asked["settings"]) == ([], 3)


def test_controls_give_the_costs_of_their_causes(tmp_path):
    points = strong((4,)) + strong((4,), control="communication off")
    points += strong((2, 4), control="synthetic data")
    found = report(tmp_path, points, noise=0.003)
    t = step_seconds(points[0])
    assert [row["control"] for row in found["controls"]] == ["communication off", "synthetic data"]
    for row, share in zip(found["controls"], (0.1, 0.05), strict=True):
        assert row["difference"]["low"] < share * t < row["difference"]["high"]
        assert row["difference"]["low"] > 0
        assert row["share"] == pytest.approx(share, abs=0.02)
    alone = "strong-p2-b256-synthetic-data has nothing to be compared with"
    assert any(alone in notice for notice in found["notices"])
    off = found["series"][1]["points"][0]
    assert off["algbw"] is None


def test_five_repetitions_have_an_interval_of_steps_and_none_of_efficiency(tmp_path):
    found = report(tmp_path, strong((1, 2)), repeats=5, noise=0.05)
    one, two = found["series"][0]["points"]
    assert one["median"]["basis"] == "steps"
    assert one["median"]["low"] <= min(one["medians"])
    assert one["median"]["high"] >= max(one["medians"])
    assert (two["efficiency"]["low"], two["efficiency"]["high"]) == (None, None)
    assert any("fewer than six repetitions (here 5)" in notice for notice in found["notices"])


def test_few_steps_have_no_far_percentiles(tmp_path):
    row = report(tmp_path, strong((1,)), repeats=2, steps=9)["series"][0]["points"][0]
    assert (row["steps"], row["p95"], row["p99"]) == (18, None, None)
    more = report(tmp_path, strong((1,)), repeats=2, steps=10)["series"][0]["points"][0]
    assert more["p95"] is not None
    assert more["p99"] is None


def test_sweeps_of_batches_and_models_have_their_own_series(tmp_path):
    points = [Point("batch", 2, batch) for batch in (64, 128)]
    points += [Point("model", 2, 64, variant) for variant in ("small", "wide")]
    found = report(tmp_path, points)
    batch, model = found["series"]
    assert (batch["name"], model["name"]) == ("batch, 2 ranks", "model, 2 ranks")
    assert batch["points"][1]["efficiency"]["value"] == pytest.approx(1.0)
    assert [row["efficiency"] for row in model["points"]] == [None, None]
    assert batch["fits"] is model["fits"] is None


def test_the_roofline_counts_weights_and_gradients(tmp_path):
    (place,) = report(tmp_path, strong((4,)))["roofline"]["points"]
    t = step_seconds(Point("strong", 4, 256))
    assert place["intensity"] == pytest.approx(FLOPS_PER_SAMPLE * 64 / (3 * GRADIENT_BYTES))
    assert place["flops_per_second"] == pytest.approx(FLOPS_PER_SAMPLE * 64 / t)
    assert place["bound"] == pytest.approx(min(PEAK, place["intensity"] * BANDWIDTH))


def test_what_was_not_counted_has_no_figure(tmp_path):
    study = write_study(tmp_path, strong((2,)), flops=None, peak_flops=None)
    found = make_report(read_study(study))
    row = found["series"][0]["points"][0]
    assert (row["flops_per_second"], row["peak_share"]) == (None, None)
    assert found["roofline"]["points"] == []
