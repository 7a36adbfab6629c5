from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import Provenance, pack, summary
from hpcad.data.inspect import format_bytes
from hpcad.data.shards.writer import Layout
from hpcad.data.sources import array_source
from hpcad.errors import DataError


def test_a_summary_says_what_is_there(tmp_path: Path) -> None:
    source = array_source({"x": np.zeros((1200, 8, 8), np.uint8)})
    source.metadata["class_names"] = ["ant", "bee"]
    told = Provenance("a telescope", "CC BY 4.0", "A. Name")
    pack(source, tmp_path / "d", shard_samples=500, provenance=told)
    text = summary(tmp_path / "d")
    for words in (
        "1,200",
        "uint8 (8, 8)",
        "3 with 200 to 500 samples each",
        "75.0 KiB",
        "2: ant bee",
        "a telescope",
        "CC BY 4.0",
        "A. Name",
    ):
        assert words in text


def test_chunks_statistics_and_what_compression_saved_are_told(tmp_path: Path) -> None:
    source = array_source({"x": np.tile(np.array([1.0, 3.0, 5.0, 7.0]), (9000, 1))})
    pack(source, tmp_path / "d", layout=Layout(chunked=True, compress=1))
    text = summary(tmp_path / "d")
    assert "shuffle, deflate:1, fletcher32" in text
    assert "% of the bytes" in text
    assert "mean 1 3 5 ..., std 0 0 0 ..., min 1 3 5 ..., max 1 3 5 ..." in text
    assert "version 2" in text


def test_a_missing_shard_is_noticed(make: Callable[..., Path]) -> None:
    directory = make(10)
    (directory / "shard-00000.h5").unlink()
    with pytest.raises(DataError, match="missing"):
        summary(directory)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**40, "1.0 TiB"), (2**62, "4096.0 PiB")],
)
def test_bytes_in_words(count: int, text: str) -> None:
    assert format_bytes(count) == text
