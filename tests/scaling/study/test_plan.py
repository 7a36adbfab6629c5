"""The plan: every point as often as wanted, in a random order that is always the same."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcad.errors import ConfigError, DataError
from hpcad.scaling.study.plan import Run, checked_by, order, points, reference_of, references
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.study import (
    BatchSection,
    CorrectnessSection,
    LaunchSection,
    ModelSweepSection,
    StrongSection,
    Study,
    WeakSection,
)

CONTROLS = ["communication off", "synthetic data"]


def study(**changed):
    given_ = {"strong": StrongSection(64, [1, 2, 4]), "repeats": 3}
    return Study(name="s", job="job.toml", **{**given_, **changed})


def names(found):
    return [point.name for point in found]


def test_strong_scaling_keeps_the_batch_and_weak_scaling_that_of_a_rank():
    found = points(study(weak=WeakSection(8, [4, 2, 1])))
    assert [(p.sweep, p.ranks, p.batch) for p in found] == [
        ("strong", 1, 64), ("strong", 2, 64), ("strong", 4, 64),
        ("weak", 1, 8), ("weak", 2, 16), ("weak", 4, 32),
    ]  # fmt: skip


def test_batches_and_models_are_swept_at_fixed_ranks():
    variants = {"small": ["model.hidden=[8]"], "large": ["model.hidden=[64]"]}
    found = points(
        study(strong=None, batch=BatchSection([32, 16], 2), model=ModelSweepSection(8, 2, variants))
    )
    assert names(found) == [
        "batch-p2-b16",
        "batch-p2-b32",
        "model-p2-b8-small",
        "model-p2-b8-large",
    ]
    assert found[-1].overrides == ("model.hidden=[64]",)


def test_base_cases_belong_to_the_sweep():
    launch = LaunchSection(ranks_per_node=4)
    found = points(study(strong=StrongSection(64, [8, 16]), launch=launch))
    assert [p.ranks for p in found] == [1, 4, 8, 16]
    alone = points(study(strong=StrongSection(64, [8]), launch=launch, base_cases=False))
    assert [p.ranks for p in alone] == [8]


def test_one_rank_has_no_communication_to_leave_out():
    found = points(study(controls=CONTROLS))
    assert [p.ranks for p in found if p.control == "communication off"] == [2, 4]
    assert [p.ranks for p in found if p.control == "synthetic data"] == [1, 2, 4]


def test_every_batch_of_several_ranks_has_one_reference():
    found = references(study(weak=WeakSection(16, [1, 2, 4]), controls=CONTROLS))
    assert sorted((p.ranks, p.batch, p.control) for p in found) == [
        (1, 32, "none"), (1, 32, "synthetic data"), (1, 64, "none"), (1, 64, "synthetic data"),
    ]  # fmt: skip
    few = references(study(correctness=CorrectnessSection(ranks=2)))
    assert names(few) == ["strong-p2-b64"]
    with pytest.raises(ConfigError, match="strong-p1-b64 cannot be checked"):
        references(study(correctness=CorrectnessSection(ranks=65)))


def test_fewer_ranks_than_those_of_the_reference_are_compared_too():
    few, point = 2, Point("strong", 1, 64)
    assert checked_by(Run(point), few) == Run(Point("strong", 2, 64), reference=True)
    assert checked_by(Run(Point("weak", 2, 64)), few) is None
    assert checked_by(Run(point, reference=True), few) is None


def test_a_model_is_compared_with_itself():
    point = Point("model", 2, 8, "large", overrides=("model.hidden=[64]",))
    assert reference_of(point) == Point("model", 1, 8, "large", overrides=("model.hidden=[64]",))
    assert reference_of(Point("weak", 2, 8)) == Point("strong", 1, 8)
    assert reference_of(Point("strong", 2, 8, control="communication off")) is None


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 8), st.integers(0, 2**32), st.sets(st.integers(1, 64), min_size=1, max_size=8)
)
def test_every_round_has_every_point_once(repeats, seed, ranks):
    planned = study(repeats=repeats, seed=seed, strong=StrongSection(64, list(ranks)))
    found = order(planned)
    runs = [run for run in found if not run.reference]
    assert found[: len(found) - len(runs)] == [Run(p, 0, True) for p in references(planned)]
    count = len(points(planned))
    for repeat in range(repeats):
        turn = runs[repeat * count : (repeat + 1) * count]
        assert {run.repeat for run in turn} == {repeat}
        assert Counter(run.point for run in turn) == Counter(points(planned))
    assert len({run.name for run in found}) == len(found)


def test_the_order_is_that_of_the_seed():
    first, again, other = (order(study(repeats=6, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    rounds = {tuple(run.point.ranks for run in first if run.repeat == r) for r in range(6)}
    assert len(rounds) > 1  # not the same order in every round


def test_a_batch_that_is_too_small_is_refused():
    with pytest.raises(DataError, match="cannot be divided among 4 ranks"):
        points(study(strong=StrongSection(2, [4])))
