"""A single flipped bit, anywhere in a dataset, is found or harmless; it is never silently wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import FieldSpec, open_dataset
from hpcad.data.manifest.contents import DTYPES
from hpcad.data.packing.writer import DatasetWriter
from hpcad.data.shards.writer import Layout
from hpcad.errors import DataError

N, SHARD = 60, 40
FLIPS = 170  # of each of the six ways below: 1,020 in all
FIELDS = {
    "x": FieldSpec((4, 16), DTYPES["float32"]),
    "y": FieldSpec((), DTYPES["int64"]),
    "f": FieldSpec((3,), DTYPES["int16"], ragged=True),
}


def samples() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 6, N)
    return {
        "x": rng.integers(0, 30, (N, 4, 16)).astype(np.float32),
        "y": np.arange(N),
        "f": [rng.integers(-99, 99, (k, 3)).astype(np.int16) for k in lengths],
    }


def write(place: Path, layout: Layout) -> None:
    with DatasetWriter(place, FIELDS, shard_samples=SHARD, layout=layout) as writer:
        writer.append(samples())
        writer.finish(metadata={"classes": 3, "class_names": ["a", "b", "c"]})
        writer.commit()


def contents(place: Path, verify: str) -> list[Any]:
    """Everything that a training run gets from a dataset."""
    data = open_dataset(place, verify=verify)
    read: dict[str, Any] = data.read(np.arange(N))
    arrays = [read["x"], read["y"], read["f"].values, read["f"].offsets]
    told = [data.metadata, data.manifest.statistics, data.hash]
    return [array.tobytes() for array in arrays] + told


def places(path: Path, n: int, rng: np.random.Generator) -> list[int]:
    """Half anywhere, half in bytes that are not zero: most of a small shard is padding."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    return [
        *rng.integers(0, len(data), n // 2).tolist(),
        *rng.choice(np.flatnonzero(data), n - n // 2).tolist(),
    ]


@pytest.mark.parametrize("verify", ["first", "read"])
@pytest.mark.parametrize(
    "layout", [Layout(), Layout(chunked=True), Layout(chunked=True, compress=6)], ids=str
)
def test_flipped_bits_are_found_or_harmless(tmp_path: Path, layout: Layout, verify: str) -> None:
    place = tmp_path / "d"
    write(place, layout)
    good = contents(place, verify)
    rng = np.random.default_rng(1)
    found: dict[str, int] = {}
    for path, n in [
        (place / "manifest.json", FLIPS // 4),
        (place / "shard-00000.h5", FLIPS // 2),
        (place / "shard-00001.h5", FLIPS - FLIPS // 4 - FLIPS // 2),
    ]:
        for byte in places(path, n, rng):
            with flipped(path, byte, int(rng.integers(8))):
                try:
                    assert contents(place, verify) == good, f"{path.name}, byte {byte}"
                except DataError:
                    found[path.name] = found.get(path.name, 0) + 1
    assert contents(place, verify) == good
    # Of the manifest all are found but those in spaces between its words; of a shard at least the
    # half that was aimed.
    assert found["manifest.json"] > 0.5 * (FLIPS // 4)
    assert found["shard-00000.h5"] > 0.3 * (FLIPS // 2)


class flipped:  # noqa: N801 - reads as a verb
    """Flips a bit of a file, and flips it back."""

    def __init__(self, path: Path, byte: int, bit: int) -> None:
        self.path, self.byte, self.bit = path, byte, bit

    def __enter__(self) -> None:
        self.flip()

    def __exit__(self, *_: object) -> None:
        self.flip()

    def flip(self) -> None:
        with open(self.path, "r+b") as file:
            file.seek(self.byte)
            (value,) = file.read(1)
            file.seek(self.byte)
            file.write(bytes([value ^ 1 << self.bit]))
