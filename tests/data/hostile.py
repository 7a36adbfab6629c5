"""Good datasets and ways to spoil them, for the tests of hostile files."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pytest

from hpcad.data import FieldSpec, open_dataset
from hpcad.data.manifest.contents import DTYPES, seal
from hpcad.data.packing.writer import DatasetWriter
from hpcad.data.shards.writer import Layout
from hpcad.errors import DataError

SECONDS, PEAK = 2.0, 64 * 2**20
N = 4000
X = np.random.default_rng(0).integers(0, 50, (N, 16)).astype(np.float32)
FIELDS = {
    "x": FieldSpec((16,), DTYPES["float32"]),
    "f": FieldSpec((), DTYPES["int32"], ragged=True),
}
SECRET = "root:x:0:0"
Change = Callable[[Path], None]


def make(place: Path, layout: Layout, seed: int = 0) -> Path:
    """A good dataset of one shard, with samples of one size and ragged ones."""
    place.mkdir()
    for name, data in _files(layout, seed).items():
        (place / name).write_bytes(data)
    return place


@cache
def _files(layout: Layout, seed: int) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 4, N)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = rng.integers(0, 99, offsets[-1]).astype(np.int32)
    with TemporaryDirectory() as folder:
        place = Path(folder) / "d"
        with DatasetWriter(place, FIELDS, shard_samples=N, layout=layout) as writer:
            writer.append({"x": X + seed, "f": (values, offsets)})
            writer.finish()
            writer.commit()
        return {path.name: path.read_bytes() for path in place.iterdir()}


def refused(place: Path, message: str, verify: bool | str) -> None:
    """Opening and reading everything ends with one error of one line, soon and small."""
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(DataError, match=message) as caught:
            open_dataset(place, verify=verify).read(np.arange(N))
        seconds, peak = time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < PEAK
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert SECRET not in str(caught.value)


def manifest(place: Path, change: Callable[[Any], None]) -> None:
    path = place / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    value["xxh3"] = seal(value)
    path.write_text(json.dumps(value))


def fit(place: Path) -> None:
    """Make the manifest say the size that the shard has now."""
    size = (place / "shard-00000.h5").stat().st_size
    manifest(place, lambda value: value["shards"][0].update(bytes=size))


def instead(create: Callable[[h5py.File], None], name: str = "x") -> Change:
    """Put something else in the place of an array, and let the manifest say the new size."""

    def change(place: Path) -> None:
        (place / "secret").write_text(SECRET)
        with h5py.File(place / "shard-00000.h5", "r+") as file:
            del file[name]
            create(file)
        fit(place)

    return change
