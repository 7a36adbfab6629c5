from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import FieldSpec, open_dataset, pack
from hpcad.data.packing.writer import DatasetWriter
from hpcad.data.sources import Source, array_source
from hpcad.errors import DataError

X = np.random.default_rng(1).standard_normal((20, 3)).astype(np.float32)


def ragged_source() -> Source:
    """Samples of 0, 1, 2, 3, 0, ... rows."""
    specs = {"f": FieldSpec((2,), np.dtype("<i4"), ragged=True)}

    def chunks(start: int, stop: int) -> Any:
        for i in range(start, stop):
            yield {"f": [np.full((i % 4, 2), i, np.int32)]}

    return Source("made", specs, 10, chunks)


def test_ragged_samples_go_into_shards(tmp_path: Path) -> None:
    pack(ragged_source(), tmp_path / "d", shard_samples=3)
    found = open_dataset(tmp_path / "d").read(np.arange(10))["f"]
    assert found.lengths.tolist() == [i % 4 for i in range(10)]
    assert [sample[:1, 0].tolist() for sample in found][7] == [7]


def test_pack_and_the_writer_make_the_same_dataset(tmp_path: Path) -> None:
    packed = pack(array_source({"x": X}), tmp_path / "a", shard_samples=7)
    fields = {"x": FieldSpec((3,), np.dtype("<f4"))}
    with DatasetWriter(tmp_path / "b", fields, shard_samples=7) as writer:
        for part in np.array_split(X, 6):
            writer.append({"x": part})
        writer.finish()
        assert writer.commit().hash == packed.hash


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ({"x": X, "z": X}, "gave the fields"),
        ({"x": X[:, :2]}, r"has samples of float32 \(2,\), expected float32 \(3,\)"),
        ({"x": X.astype("f8")}, "has samples of float64"),
        ({"x": np.concatenate([X, X])}, "gave more samples than were asked for"),
        ({"x": X[:5]}, "gave 5 samples of 20 announced"),
    ],
)
def test_a_source_that_gives_something_else(
    tmp_path: Path, chunk: dict[str, np.ndarray], message: str
) -> None:
    source = replace(array_source({"x": X}), chunks=lambda start, stop: iter([chunk]))
    with pytest.raises(DataError, match=message):
        pack(source, tmp_path / "d")


def test_names_and_metadata_are_looked_at_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a field cannot be called 'a b'"):
        pack(array_source({"a b": X}), tmp_path / "d")
    source = replace(array_source({"x": X}), metadata={"a": {1, 2}})
    with pytest.raises(DataError, match="the metadata cannot be written as JSON"):
        pack(source, tmp_path / "d")
