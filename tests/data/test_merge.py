from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import Provenance, open_dataset, pack
from hpcad.data.packing.merge import merged_provenance, merged_source
from hpcad.data.sources import array_source, text_sources
from hpcad.errors import DataError

from .conftest import numbered


def test_the_samples_one_after_the_other(tmp_path: Path, make: Callable[..., Path]) -> None:
    datasets = [open_dataset(make(n, 4, name=f"d{n}")) for n in (10, 1, 7)]
    pack(merged_source(datasets), tmp_path / "m", shard_samples=5)
    merged = open_dataset(tmp_path / "m")
    found = merged.read(np.arange(18))
    assert found["y"].tolist() == [*range(10), 0, *range(7)]
    np.testing.assert_array_equal(found["x"][11:], numbered(7)["x"])
    assert merged.metadata["classes"] == 10
    assert merged.metadata["merged"] == [[each.hash, len(each)] for each in datasets]


def test_sentences_are_kept_once(tmp_path: Path) -> None:
    for name, source in (("a", "here"), ("b", "there"), ("c", "here")):
        pack(array_source(numbered(3)), tmp_path / name, provenance=Provenance(source, "CC0"))
    told = merged_provenance([open_dataset(tmp_path / name) for name in "abc"])
    assert told == Provenance("here; there", "CC0", "")


def test_datasets_that_do_not_belong_together(tmp_path: Path, make: Callable[..., Path]) -> None:
    first = open_dataset(make(5, 4))
    with pytest.raises(DataError, match="at least two"):
        merged_source([first])
    pack(array_source({"x": numbered(3)["x"]}), tmp_path / "x")
    with pytest.raises(DataError, match=r"has the fields x: float32 \(3, 2\); those of .* are x:"):
        merged_source([first, open_dataset(tmp_path / "x")])
    for name, text in (("a", "abc"), ("b", "abd")):
        (tmp_path / f"{name}.txt").write_text(text)
        pack(text_sources(tmp_path / f"{name}.txt")[0], tmp_path / name)
    texts = [open_dataset(tmp_path / name) for name in "ab"]
    with pytest.raises(DataError, match="has other metadata 'vocabulary'"):
        merged_source(texts)
    with pytest.raises(DataError, match=r"holds tokens, .* holds samples"):
        merged_source([first, texts[0]])
