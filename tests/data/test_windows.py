from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import Loader, open_dataset, pack
from hpcad.data.sources import text_sources
from hpcad.errors import DataError

TEXT = "the quick brown fox jumps over the lazy dog"
TOKENS = np.array([sorted(set(TEXT)).index(symbol) for symbol in TEXT])


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """The sentence above in shards of 5 characters, so that every window crosses a border."""
    (tmp_path / "text").write_text(TEXT)
    pack(text_sources(tmp_path / "text")[0], tmp_path / "stream", shard_samples=5)
    return tmp_path / "stream"


@pytest.mark.parametrize("window", [1, 4, 7, 20, len(TEXT) - 1])
@pytest.mark.parametrize("stride", [1, 3, 50])
def test_every_window_is_a_slice_of_the_whole_stream(
    stream: Path, window: int, stride: int
) -> None:
    dataset = open_dataset(stream, window=window, stride=stride)
    starts = range(0, len(TEXT) - window, stride)
    assert len(dataset) == len(starts)
    batch = dataset.read(np.arange(len(dataset)))
    assert batch["x"].shape == (len(starts), window)
    assert batch["x"].dtype == dataset.fields["x"].dtype == np.uint8
    assert dataset.fields["y"].shape == (window,)
    for x, y, start in zip(batch["x"], batch["y"], starts, strict=True):
        np.testing.assert_array_equal(x, TOKENS[start : start + window])
        np.testing.assert_array_equal(y, TOKENS[start + 1 : start + window + 1])


def test_a_window_is_read_in_runs_not_token_by_token(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(TEXT)
    pack(text_sources(tmp_path / "text")[0], tmp_path / "stream", shard_samples=30)
    dataset = open_dataset(tmp_path / "stream", window=8)
    dataset.read(np.array([0, 3, 30]))
    assert dataset.requests == 3
    dataset.read(np.array([25]))  # 25 to 33: five tokens of one shard, four of the next
    assert dataset.requests == 5


def test_windows_go_into_memory_that_is_given(stream: Path) -> None:
    dataset = open_dataset(stream, window=6)
    ids = np.array([30, 2, 2])
    out = {name: np.zeros((3, 6), np.uint8) for name in ("x", "y")}
    found = dataset.read(ids, out)
    assert found["x"] is out["x"]
    for name, array in dataset.read(ids).items():
        np.testing.assert_array_equal(out[name], array)
    with pytest.raises(
        DataError, match=r"out= is uint8 \(2, 6\); what is read into it is uint8 \(3"
    ):
        dataset.read(ids, {name: array[:2] for name, array in out.items()})


def test_the_text_can_be_read_back(stream: Path) -> None:
    dataset = open_dataset(stream)
    symbols = dataset.metadata["vocabulary"]
    tokens = dataset.read(np.arange(len(dataset)))["tokens"]
    assert "".join(symbols[token] for token in tokens) == TEXT


def test_no_windows_is_an_empty_batch(stream: Path) -> None:
    batch = open_dataset(stream, window=6).read(np.empty(0, np.int64))
    assert batch["x"].shape == batch["y"].shape == (0, 6)


def test_the_hash_tells_windows_apart(stream: Path) -> None:
    hashes = {
        open_dataset(stream).hash,
        open_dataset(stream, window=4).hash,
        open_dataset(stream, window=5).hash,
        open_dataset(stream, window=4, stride=4).hash,
    }
    assert len(hashes) == 4
    assert open_dataset(stream, window=4).hash in hashes


def test_a_loader_gives_every_window_once(stream: Path) -> None:
    dataset = open_dataset(stream, window=4)
    with Loader(dataset, 8, epochs=1) as loader:
        ids = np.concatenate([batch.ids for batch in loader])
    assert sorted(ids.tolist()) == list(range(len(dataset)))


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [(0, 1, "at least 1"), (4, 0, "at least 1"), (len(TEXT), 1, "choose a window below 43")],
)
def test_windows_that_do_not_fit(stream: Path, window: int, stride: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(stream, window=window, stride=stride)


def test_windows_of_what_is_no_stream(make: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="holds samples with the fields x, y"):
        open_dataset(make(10), window=4)
