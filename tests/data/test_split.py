from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack, pack_all
from hpcad.data.order.permutation import Permutation
from hpcad.data.packing import split
from hpcad.data.packing.split import Parts, split_sources
from hpcad.data.sources import text_sources
from hpcad.errors import DataError


def ids_of(parts: Parts, at_once: int = 1000) -> list[np.ndarray]:
    return [
        np.concatenate([parts.ids(k, i, min(i + at_once, count)) for i in range(0, count, at_once)])
        for k, count in enumerate(parts.counts)
    ]


@pytest.mark.parametrize("n", [3, 10, 99, 1001])
@pytest.mark.parametrize("fractions", [[1.0], [0.5, 0.5], [0.4, 0.3, 0.3]])
def test_every_sample_is_in_one_part(
    monkeypatch: pytest.MonkeyPatch, n: int, fractions: list[float]
) -> None:
    monkeypatch.setattr(split, "_BLOCK", 16)
    parts = Parts(n, fractions, seed=5)
    found = ids_of(parts, 7)
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(n))
    for ids, fraction in zip(found, fractions, strict=True):
        assert abs(len(ids) - fraction * n) <= 1
        assert (np.diff(ids) > 0).all()


def test_a_part_is_a_stretch_of_the_permutation() -> None:
    first, second = ids_of(Parts(100, [0.3, 0.7], seed=8))
    order = Permutation(100, 8)(np.arange(100))
    np.testing.assert_array_equal(first, np.sort(order[:30]))
    np.testing.assert_array_equal(second, np.sort(order[30:]))


def test_seeds_make_different_parts() -> None:
    first = [ids_of(Parts(1000, [0.5, 0.5], seed))[0] for seed in range(5)]
    for k in range(1, 5):
        common = len(np.intersect1d(first[0], first[k]))
        assert 180 < common < 320  # 250 expected, standard deviation 8


@pytest.mark.parametrize("fractions", [[], [0.5], [0.5, 0.6], [1.5, -0.5], [1.0, 0.0]])
def test_fractions_that_do_not_add_up(fractions: list[float]) -> None:
    with pytest.raises(DataError, match="add up to 1"):
        Parts(100, fractions, 0)


def test_parts_without_samples() -> None:
    with pytest.raises(DataError, match="3 samples are too few"):
        Parts(3, [0.9, 0.1], 0)


def test_a_dataset_in_parts(tmp_path: Path, make: Callable[..., Path]) -> None:
    dataset = open_dataset(make(50, 8))
    fractions = {"train": 0.8, "test": 0.2}
    sources = split_sources(dataset, fractions, seed=1)
    places = [tmp_path / name for name in fractions]
    pack_all(list(zip(sources, places, strict=True)), shard_samples=6)
    seen = []
    for place in places:
        part = open_dataset(place)
        found = part.read(np.arange(len(part)))
        seen += found["y"].tolist()
        np.testing.assert_array_equal(found["x"], dataset.read(found["y"])["x"])
        assert part.metadata["split"]["of"] == dataset.hash
        assert part.metadata["split"]["part"] == place.name
        assert part.metadata["classes"] == dataset.metadata["classes"]
    assert sorted(seen) == list(range(50))


def test_a_text_is_cut_into_stretches(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("abcdefghij")
    pack(text_sources(tmp_path / "t")[0], tmp_path / "d")
    first, second = split_sources(open_dataset(tmp_path / "d"), {"a": 0.7, "b": 0.3})
    assert next(first.chunks(0, 7))["tokens"].tolist() == list(range(7))
    assert next(second.chunks(1, 3))["tokens"].tolist() == [8, 9]


def test_a_split_can_be_continued(tmp_path: Path, make: Callable[..., Path]) -> None:
    directory = make(50, 8)
    jobs = [(source, tmp_path / "a") for source in split_sources(open_dataset(directory), {"a": 1})]
    whole = pack_all(jobs, shard_samples=6)[0].hash
    again = [(jobs[0][0], tmp_path / "b")]
    assert pack_all(again, shard_samples=6, resume=True)[0].hash == whole
