"""Choices are measured once, kept on disk, and never trusted more than they deserve."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest

from hpcad.backend.gemm import Gemm, best_way, bind, describe, seconds, tuning
from hpcad.backend.gemm.record import Record
from hpcad.backend.gemm.routine import Way, compiled
from hpcad.backend.gemm.search import numpy_library
from hpcad.backend.gemm.ways import flipped_ways, plain_ways, usual_way

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


def count_races(monkeypatch, winner=None):
    """Count the measurements, and decide them."""
    seen = []

    def measured(spec, plain, count):
        seen.append(spec)
        return (winner or plain[0].label), 1e-6

    monkeypatch.setattr(tuning, "_measured", measured)
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
    record.write_text(record.read_text().replace('"numpy"', '"a library that is gone"'))
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


def test_the_usual_way_stays_unless_another_is_clearly_faster(monkeypatch):
    usual = usual_way(SPEC)
    rival = Way(usual.library, flip="b")
    for ratio, winner in ((0.98, usual), (0.9, rival)):
        monkeypatch.setattr(tuning._Race, "run", lambda self, ways: None)
        monkeypatch.setattr(
            tuning._Race, "leaders", lambda self: sorted(self.best, key=self.best.get)
        )
        original = tuning._Race.__init__

        def began(self, *args, original=original, ratio=ratio):
            original(self, *args)
            self.best.update({usual: 1.0, rival: ratio})

        with monkeypatch.context() as patch:
            patch.setattr(tuning._Race, "__init__", began)
            label, _ = tuning._measured(SPEC, [usual], 1)
        assert label == winner.label


def test_ways_have_names_of_their_own():
    for spec in (SPEC, Gemm("float64", 500, 1, 300), Gemm("float32", 90, 200, 50, batch=(8,))):
        for count in (1, 2, 6):
            plain = list(plain_ways(spec, count, usual_way(spec)))
            ways = [*plain, *(flipped for way in plain for flipped in flipped_ways(spec, way))]
            assert len({way.label for way in ways}) == len(ways)
            assert ways[0] == usual_way(spec)
            for way in ways:
                assert way.spread or way.library.name == "numpy" or count == 1


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
