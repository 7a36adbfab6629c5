from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.bench import Way, bench, report
from hpcad.data.raw_reading import RawReading, read
from hpcad.data.shards.writer import Layout
from hpcad.data.sources import array_source, text_sources
from hpcad.errors import DataError
from hpcad.parallel import SerialCommunicator

from .conftest import numbered


def test_raw_reading_reads_the_same_bytes(make: Callable[..., Path]) -> None:
    dataset = open_dataset(make(30, 7), verify=False)
    ids = np.array([29, 0, 7, 6, 13])
    requests = RawReading(dataset).prepare(ids)
    memory = np.zeros(requests.nbytes, np.uint8)
    read(requests.open(memory))
    found = dataset.read(ids)
    expected = [part for k in range(5) for part in (found["x"][k : k + 1], found["y"][k : k + 1])]
    assert memory.tobytes() == b"".join(part.tobytes() for part in expected)


def test_raw_reading_of_windows_crosses_shards(tmp_path: Path) -> None:
    text = "the quick brown fox jumps"
    (tmp_path / "t").write_text(text)
    pack(text_sources(tmp_path / "t", tokenizer="bytes")[0], tmp_path / "d", shard_samples=4)
    dataset = open_dataset(tmp_path / "d", window=9, stride=2, verify=False)
    requests = RawReading(dataset).prepare(np.array([3, 0]))
    memory = np.zeros(requests.nbytes, np.uint8)
    read(requests.open(memory))
    assert memory.tobytes().decode() == text[6:16] + text[:10]


@pytest.mark.parametrize("cold", [False, True])
def test_what_is_measured(make: Callable[..., Path], cold: bool) -> None:
    dataset = open_dataset(make(50, 7), verify=False)
    ways = bench(dataset, 8, SerialCommunicator(), batches=100, cold=cold)
    assert [(way.order, way.name) for way in ways] == [
        ("random", "Dataset.read"),
        ("random", "raw preadv"),
        ("sequential", "Dataset.read"),
        ("sequential", "raw preadv"),
    ]
    for way in ways:
        assert (way.samples, way.nbytes) == (150, 150 * 32)  # the epoch, three times
        assert len(way.batches) == 21
        assert way.seconds == pytest.approx(way.batches.sum())
    text = report(ways, 8, step_ms=10)
    assert "random: " in text
    assert "a step of 10 ms needs 0.000 GB/s" in text


def test_what_a_step_needs() -> None:
    way = Way("random", "Dataset.read", 3 * 10**9, 30, 2.0, np.array([1.0, 1.0]))
    text = report([way], 10, step_ms=100)  # a batch of 1 GB in a tenth of a second
    assert "1.500" in text
    assert "needs 10.000 GB/s, random reading gives 1.500: accelerators are busy 15%" in text


def test_chunks_have_no_raw_reading(tmp_path: Path) -> None:
    pack(array_source(numbered(20)), tmp_path / "d", layout=Layout(chunked=True, compress=1))
    ways = bench(open_dataset(tmp_path / "d", verify=False), 8, SerialCommunicator())
    assert [way.name for way in ways] == ["Dataset.read", "Dataset.read"]


def test_batches_that_cannot_be(make: Callable[..., Path]) -> None:
    dataset = open_dataset(make())
    for batch, batches in ((0, 1), (4, 0)):
        with pytest.raises(DataError, match="cannot be divided"):
            bench(dataset, batch, SerialCommunicator(), batches=batches)
