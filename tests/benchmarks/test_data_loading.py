"""The program that measures loaders compares like with like, and refuses what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import data_loading
import data_resume
import numpy as np
import pytest
from data_ways import Files, gathered, raw, ways

from hpcad.data import pack
from hpcad.data.sources import array_source


@pytest.fixture
def files(tmp_path: Path) -> Files:
    x = np.random.default_rng(0).standard_normal((50, 16), np.float32)
    pack(array_source({"x": x}), tmp_path / "set", shard_samples=12)
    return Files(tmp_path / "set", 8)


def test_all_ways_give_the_same_batches(files: Files) -> None:
    contenders = ways(with_torch=False)
    assert data_loading.differing(files, contenders) == []
    x = np.concatenate([batch.copy() for batch in raw(files)])
    assert x.shape == (50, 16)
    ids = np.concatenate(files.ids)
    assert sorted(ids.tolist()) == list(range(50))
    np.testing.assert_array_equal(x[np.argsort(ids)], files.dataset.read(np.arange(50))["x"])


def test_a_way_that_gives_other_data_is_named(files: Files) -> None:
    def wrong(files: Files) -> Any:
        for batch in gathered(files):
            yield batch + 1

    assert data_loading.differing(files, {"raw": raw, "wrong": wrong}) == ["wrong"]


@pytest.mark.parametrize("turn", [data_loading.warm, data_loading.cold])
def test_rates_and_shares(files: Files, turn: Any, capsys: pytest.CaptureFixture[str]) -> None:
    contenders = ways(with_torch=False)
    rows = data_loading.measure(files, contenders, 3, turn)
    assert [row["name"] for row in rows] == list(contenders)
    for row in rows:
        assert row["gb_per_s"]["low"] <= row["gb_per_s"]["median"] <= row["gb_per_s"]["high"]
        assert len(row["samples"]) == 3
    assert rows[0]["share"][0] == 1.0
    data_loading.table("title", rows)
    assert "hpcad Loader, 8 readers" in capsys.readouterr().out


def test_a_whole_run_leaves_nothing_but_its_json(tmp_path: Path) -> None:
    place, out = tmp_path / "place", tmp_path / "out.json"
    place.mkdir()
    arguments = ["--megabytes", "8", "--rounds", "1", "--cold-rounds", "1", "--no-resume"]
    code = data_loading.main([*arguments, "--directory", str(place), "--json", str(out)])
    assert code == 0
    assert list(place.iterdir()) == []
    found = json.loads(out.read_text())
    assert len(found["warm"]) == len(found["cold"]) >= 6


def test_resuming_takes_as_much_memory_whatever_the_number_of_samples(tmp_path: Path) -> None:
    rows = data_resume.measure(str(tmp_path), (10**4, 10**8), shards=50, repeats=1)
    assert [row["samples"] for row in rows] == [10**4, 10**8]
    for row in rows:
        assert row["open_seconds"] + row["batch_seconds"] < 10  # of a busy machine; 0.1 at rest
        assert row["sum"] == 0.0
        assert row["cursor"] == row["samples"] // 2 + 7 + data_resume.BATCH
    small, large = (row["traced_peak_bytes"] for row in rows)
    assert large < 1.1 * small + 2**18
    assert list(tmp_path.iterdir()) == []
