from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack_all
from hpcad.data.sources import text_sources
from hpcad.errors import DataError

SHAKESPEARE = (
    Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "tinyshakespeare" / "input.txt"
)


def text_of(directory: Path) -> str:
    dataset = open_dataset(directory)
    symbols = dataset.metadata["vocabulary"]
    return "".join(symbols[t] for t in dataset.read(np.arange(len(dataset)))["tokens"])


def test_characters_become_numbers_in_sorted_order(tmp_path: Path) -> None:
    text = "zebra\r\nÄpfel 🦓\n"
    (tmp_path / "t").write_bytes(text.encode())
    (source,) = text_sources(tmp_path / "t")
    assert source.metadata["vocabulary"] == sorted(set(text))
    pack_all([(source, tmp_path / "d")], shard_samples=4)
    assert text_of(tmp_path / "d") == text


def test_a_split_has_one_vocabulary(tmp_path: Path) -> None:
    text = "aaaaaaaaab"
    (tmp_path / "t").write_text(text)
    train, val = text_sources(tmp_path / "t", split=0.9)
    assert train.metadata == val.metadata == {"vocabulary": ["a", "b"]}
    pack_all([(train, tmp_path / "train"), (val, tmp_path / "val")])
    assert text_of(tmp_path / "train") == "a" * 9
    assert text_of(tmp_path / "val") == "b"


@pytest.mark.parametrize(
    ("symbols", "dtype"), [(256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "int32")]
)
def test_tokens_are_as_small_as_the_vocabulary_allows(
    tmp_path: Path, symbols: int, dtype: str
) -> None:
    points = [point for point in range(symbols + 2048) if not 0xD800 <= point < 0xE000][:symbols]
    text = "".join(map(chr, points))
    (tmp_path / "t").write_bytes(text.encode())
    (source,) = text_sources(tmp_path / "t")
    assert source.fields["tokens"].dtype == dtype
    tokens = np.concatenate([chunk["tokens"] for chunk in source.chunks(0, symbols)])
    np.testing.assert_array_equal(tokens, np.arange(symbols))


@pytest.mark.parametrize(
    ("data", "split", "message"),
    [
        (b"", None, "is empty"),
        (b"abc\xffdef", None, "not UTF-8 text .byte 3"),
        (b"abcdef", 0.0, "between 0 and 1"),
        (b"abcdef", 1.0, "between 0 and 1"),
        (b"abcdef", 0.01, "leaves nothing on one side"),
    ],
)
def test_text_that_does_not_fit(
    tmp_path: Path, data: bytes, split: float | None, message: str
) -> None:
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(DataError, match=message):
        text_sources(tmp_path / "t", split=split)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        text_sources(tmp_path / "none")


def test_tiny_shakespeare(tmp_path: Path) -> None:
    if not SHAKESPEARE.is_file():
        pytest.skip("Tiny Shakespeare is not in ../shared/data")
    train, val = text_sources(SHAKESPEARE, split=0.9)
    assert (train.count, val.count) == (1_003_854, 111_540)
    assert len(train.metadata["vocabulary"]) == 65
    pack_all([(train, tmp_path / "train"), (val, tmp_path / "val")], shard_samples=300_000)
    batch = open_dataset(tmp_path / "train", window=64).read(np.array([0, 299_970]))
    text = SHAKESPEARE.read_text()
    symbols = train.metadata["vocabulary"]
    assert "".join(symbols[t] for t in batch["x"][0]) == text[:64]
    assert "".join(symbols[t] for t in batch["y"][1]) == text[299_971 : 299_971 + 64]
