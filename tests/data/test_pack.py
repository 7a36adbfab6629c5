from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import Provenance, open_dataset, pack, pack_all
from hpcad.data.sources import Source, array_source
from hpcad.errors import DataError

from .conftest import numbered


def test_shards_have_the_asked_size(tmp_path: Path) -> None:
    arrays = {"x": np.zeros((3000, 128), np.float64)}  # 1 KiB a sample
    manifest = pack(array_source(arrays), tmp_path / "mb", shard_mb=1)
    assert [shard.count for shard in manifest.shards] == [1024, 1024, 952]
    manifest = pack(array_source(arrays), tmp_path / "samples", shard_samples=2000, shard_mb=1)
    assert [shard.count for shard in manifest.shards] == [2000, 1000]
    manifest = pack(array_source(arrays), tmp_path / "default")
    assert len(manifest.shards) == 1


def test_many_fields_and_what_is_told_of_them(tmp_path: Path) -> None:
    arrays = {**numbered(9), "weight": np.linspace(0, 1, 9), "good": np.arange(9) > 4}
    told = Provenance("source", "licence", "attribution")
    lines: list[str] = []
    manifest = pack(array_source(arrays), tmp_path / "d", provenance=told, progress=lines.append)
    assert (manifest.source, manifest.licence, manifest.attribution) == (
        "source",
        "licence",
        "attribution",
    )
    data = open_dataset(tmp_path / "d").read(np.arange(9))
    assert data.keys() == arrays.keys()
    assert data["good"].dtype == np.uint8
    for name, array in arrays.items():
        np.testing.assert_array_equal(data[name], array)
    assert lines[0] == "arrays: 9 of 9 samples"
    assert lines[-1].startswith("packed 9 samples into 1 shard (")


def failing(source: Source) -> Source:
    def chunks(start: int, stop: int) -> Iterator[dict[str, np.ndarray]]:
        yield from source.chunks(start, stop)
        raise DataError("the second source is damaged")

    return replace(source, chunks=chunks)


def test_all_appear_or_none(tmp_path: Path) -> None:
    good = array_source(numbered(9))
    with pytest.raises(DataError, match="the second source is damaged"):
        pack_all([(good, tmp_path / "a" / "1"), (failing(good), tmp_path / "a" / "2")])
    assert os.listdir(tmp_path) == []


def test_a_source_that_breaks_its_word(tmp_path: Path) -> None:
    source = replace(array_source(numbered(9)), count=10)
    with pytest.raises(DataError, match="gave 9 samples of 10 announced"):
        pack(source, tmp_path / "d")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("options", [{"shard_mb": 0}, {"shard_mb": -1}, {"shard_samples": 0}])
def test_shards_without_room(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"larger than 0 MiB|at least 1 sample"):
        pack(array_source(numbered(9)), tmp_path / "d", **options)
