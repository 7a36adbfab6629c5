"""Choices are measured once, kept on disk, and never trusted more than they deserve."""

from __future__ import annotations

import dataclasses
import json
import stat

import numpy as np
import pytest

from hpcad.backend.gemm import Gemm, best_way, bind, describe, libraries, seconds, tuning
from hpcad.backend.gemm.race import Race, needs
from hpcad.backend.gemm.record import Record
from hpcad.backend.gemm.routine import Way, compiled
from hpcad.backend.gemm.search import numpy_library
from hpcad.backend.gemm.ways import flipped_ways, one_piece, plain_ways, usual_way

SPEC = Gemm("float32", 64, 48, 40, trans_b=True)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    if compiled() is None or numpy_library() is None:
        pytest.skip("without a C compiler, or NumPy's BLAS, there is nothing to choose")
    monkeypatch.setenv("HPCAD_CACHE_DIR", str(tmp_path))
    tuning._best.cache_clear()
    yield
    tuning._best.cache_clear()


def records(directory):
    return list(directory.glob("products-*.json"))


def count_races(monkeypatch):
    """Count the races, which the first way wins."""
    seen = []

    def measured(spec, ways, count):
        seen.append(spec)
        race = Race(spec, count)
        race.best = {ways[0]: 1e-6}
        return race

    monkeypatch.setattr(tuning, "measured", measured)
    return seen


def test_a_product_is_measured_once_whatever_its_factors(monkeypatch, tmp_path):
    seen = count_races(monkeypatch)
    for alpha in (1.0, 0.5):
        best_way(Gemm("float32", 64, 48, 40, alpha=alpha))
    best_way(Gemm("float32", 64, 48, 40, beta=1.0))
    assert len(seen) == 2  # whether c is read makes a difference
    tuning._best.cache_clear()
    best_way(Gemm("float32", 64, 48, 40, alpha=3.0))
    assert len(seen) == 2  # read from disk
    assert len(records(tmp_path)) == 1


def test_tiny_products_are_not_measured(monkeypatch):
    seen = count_races(monkeypatch)
    spec = Gemm("float32", 4, 4, 4)
    assert best_way(spec) == usual_way(spec)
    assert seconds(spec) is None
    assert seen == []


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        '{"format": 999}',
        '{"format": 1, "choices": {"x": ["y", "z"]}}',
        '{"format": 1, "choices": {"x": ["y", NaN]}}',
        '{"format": 1, "choices": 3}',
    ],
)
def test_a_damaged_record_is_measured_anew(monkeypatch, tmp_path, damage):
    seen = count_races(monkeypatch)
    best_way(SPEC)
    (record,) = records(tmp_path)
    record.write_text(damage)
    tuning._best.cache_clear()
    tuning.record.__globals__["_record"].cache_clear()
    best_way(SPEC)
    assert len(seen) == 2
    assert json.loads(record.read_text())["choices"]


def test_a_choice_that_no_longer_exists_is_measured_anew(monkeypatch, tmp_path):
    seen = count_races(monkeypatch)
    best_way(SPEC)
    (record,) = records(tmp_path)
    record.write_text(record.read_text().replace("numpy", "a library that is gone"))
    tuning._best.cache_clear()
    tuning.record.__globals__["_record"].cache_clear()
    best_way(SPEC)
    assert len(seen) == 2


def test_what_others_wrote_meanwhile_is_kept(tmp_path):
    one, other = (Record(tmp_path / "r.json", ["lib"]) for _ in range(2))
    one.put(SPEC, "a", 1.0)
    other.put(Gemm("float64", 1, 2, 3), "b", 2.0)
    fresh = Record(tmp_path / "r.json", ["lib"])
    assert fresh.get(SPEC, ["a"]) == ("a", 1.0)
    assert fresh.get(Gemm("float64", 1, 2, 3), ["b"]) == ("b", 2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_record_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    record = Record(tmp_path / "file" / "r.json", ["lib"])
    (tmp_path / "file").write_text("not a directory")
    record.put(SPEC, "a", 1.0)
    assert record.get(SPEC, ["a"]) == ("a", 1.0)


@pytest.mark.parametrize(("ratio", "replaced"), [(0.98, False), (0.96, True), (1.1, False)])
def test_numpys_library_stays_unless_another_way_is_clearly_faster(ratio, replaced):
    ours = Way(numpy_library(), 1)
    rival = dataclasses.replace(ours, flip="b")
    race = Race(SPEC, 1)
    race.best = {ours: 1.0, rival: ratio}
    assert tuning.winner(race) == ((rival.label, ratio) if replaced else (ours.label, 1.0))


SHAPES = [SPEC, Gemm("float64", 500, 1, 300), Gemm("float32", 900, 200, 500, batch=(2, 4))]


@pytest.mark.parametrize("spec", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 3, 6, 16])
def test_ways_have_names_of_their_own_and_cover_the_product(spec, count):
    plain = list(plain_ways(spec, count, libraries()))
    ways = [*plain, *(flipped for way in plain for flipped in flipped_ways(spec, way))]
    assert len({way.label for way in ways}) == len(ways) > 0
    for way in ways:
        piece, times = one_piece(spec, way, count)
        share = count if way.spread else 1
        assert spec.flops <= share * times * piece.flops < 2.5 * spec.flops
        for all_, some in zip(needs(spec), needs(piece), strict=True):
            assert some <= all_


def test_a_tuned_product_is_right_and_its_time_is_known():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 96, 80)), rng.standard_normal((80, 64))
    c = np.empty((2, 96, 64))
    product = describe(a, b, c)
    bind(*product, tune=True)()
    np.testing.assert_allclose(c, a @ b, 1e-12, 1e-12)
    assert 1e-7 < seconds(product.spec) < 1.0


def test_records_are_readable_by_their_owner_alone(monkeypatch, tmp_path):
    count_races(monkeypatch)
    best_way(SPEC)
    (record,) = records(tmp_path)
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
