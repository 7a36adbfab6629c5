"""Samples of different lengths: as a batch, and through shards of every layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpcad.data import FieldSpec, Loader, open_dataset
from hpcad.data.manifest.contents import DTYPES
from hpcad.data.packing.writer import DatasetWriter
from hpcad.data.ragged import Ragged
from hpcad.data.shards.writer import Layout
from hpcad.errors import DataError

LAYOUTS = [Layout(), Layout(chunked=True), Layout(chunked=True, compress=1)]
FIELDS = {
    "cloud": FieldSpec((3,), DTYPES["float32"], ragged=True),
    "text": FieldSpec((), DTYPES["uint16"], ragged=True),
    "y": FieldSpec((), DTYPES["int64"]),
}


def clouds(n: int, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Samples of 0 to 9 rows, every tenth of the clouds empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 10, n) * (np.arange(n) % 10 != 3)
    return {
        "cloud": [rng.random((k, 3), np.float32) for k in lengths],
        "text": [rng.integers(0, 2**16, k).astype(np.uint16) for k in rng.integers(0, 10, n)],
    }


def write(place: Path, samples: dict[str, list[np.ndarray]], **options: Any) -> None:
    count = len(samples["cloud"])
    with DatasetWriter(place, FIELDS, shard_samples=7, **options) as writer:
        for start in range(0, count, 5):
            part = {name: each[start : start + 5] for name, each in samples.items()}
            ids = np.arange(start, min(start + 5, count))
            writer.append({**part, "y": ids})
        writer.finish()
        writer.commit()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("verify", ["first", "read", False])
def test_samples_come_back_from_shards(tmp_path: Path, layout: Layout, verify: Any) -> None:
    samples = clouds(40)
    write(tmp_path / "d", samples, layout=layout)
    data = open_dataset(tmp_path / "d", verify=verify)
    assert str(data.fields["cloud"]) == "float32 (n, 3)"
    rng = np.random.default_rng(1)
    for ids in (np.arange(40), rng.permutation(40), rng.integers(0, 40, 100), np.array([13])):
        batch: dict[str, Any] = data.read(ids)
        assert batch["y"].tolist() == ids.tolist()
        for name in ("cloud", "text"):
            assert len(batch[name]) == len(ids)
            assert batch[name].values.dtype == FIELDS[name].dtype
            for place, number in enumerate(ids):
                np.testing.assert_array_equal(batch[name][place], samples[name][number])


def test_no_ids_give_no_samples(tmp_path: Path) -> None:
    write(tmp_path / "d", clouds(9))
    batch: dict[str, Any] = open_dataset(tmp_path / "d").read(np.empty(0, np.int64))
    assert len(batch["cloud"]) == 0
    assert batch["cloud"].values.shape == (0, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shards_in_which_all_samples_are_empty(tmp_path: Path, layout: Layout) -> None:
    samples = {"cloud": [np.empty((0, 3), np.float32)] * 20, "text": [np.empty(0, np.uint16)] * 20}
    write(tmp_path / "d", samples, layout=layout)
    batch: dict[str, Any] = open_dataset(tmp_path / "d", verify="first").read(np.arange(20))
    assert batch["cloud"].lengths.tolist() == [0] * 20
    assert batch["text"].values.shape == (0,)


def test_h5py_reads_values_and_offsets(tmp_path: Path) -> None:
    samples = clouds(7)
    write(tmp_path / "d", samples)
    with h5py.File(tmp_path / "d" / "shard-00000.h5", "r") as file:
        np.testing.assert_array_equal(file["cloud"][:], np.concatenate(samples["cloud"]))
        lengths = [len(sample) for sample in samples["cloud"]]
        assert file["cloud.offsets"][:].tolist() == [0, *np.cumsum(lengths)]


def test_values_with_offsets_and_ragged_are_taken_as_lists_are(tmp_path: Path) -> None:
    samples = clouds(6)
    hashes = []
    for name, given in [
        ("list", samples["cloud"]),
        ("ragged", Ragged.of(samples["cloud"])),
        ("pair", (Ragged.of(samples["cloud"]).values, Ragged.of(samples["cloud"]).offsets)),
    ]:
        fields = {"cloud": FIELDS["cloud"]}
        with DatasetWriter(tmp_path / name, fields, shard_samples=4) as writer:
            writer.append({"cloud": given})
            writer.finish()
            hashes.append(writer.commit().hash)
    assert len(set(hashes)) == 1


def test_the_loader_gives_ragged_batches(tmp_path: Path) -> None:
    samples = clouds(20)
    write(tmp_path / "d", samples)
    with Loader(open_dataset(tmp_path / "d"), 6, epochs=1) as loader:
        for batch in loader:
            cloud: Any = batch["cloud"]
            for place, number in enumerate(batch.ids):
                np.testing.assert_array_equal(cloud[place], samples["cloud"][number])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([np.zeros((2, 4), np.float32)], r"samples of float32 \(n, 4\), expected float32 \(n, 3\)"),
        ([np.zeros((2, 3))], "samples of float64"),
        ([np.zeros((2, 3), "f4"), np.zeros((2, 3))], "differ in kind"),
        ([np.float32(3)], "must be arrays of rows"),
        ((np.zeros((4, 3), "f4"), np.array([0, 3])), "offsets go from 0 to 3"),
        ((np.zeros((4, 3), "f4"), np.array([0, 3, 2, 4])), "offsets decrease"),
        ((np.zeros((4, 3), "f4"), np.array([0.0, 4.0])), "integer offsets"),
    ],
)
def test_samples_that_do_not_fit(tmp_path: Path, given: Any, message: str) -> None:
    fields = {"cloud": FIELDS["cloud"]}
    with (
        DatasetWriter(tmp_path / "d", fields, shard_samples=4) as writer,
        pytest.raises(DataError, match=message),
    ):
        writer.append({"cloud": given})


def test_padding_and_its_mask() -> None:
    batch = Ragged.of([np.ones((2, 2)), np.empty((0, 2)), np.full((3, 2), 5.0)])
    padded = batch.padded(fill=-1)
    assert padded.shape == (3, 3, 2)
    assert padded[0].tolist() == [[1, 1], [1, 1], [-1, -1]]
    assert padded[1].tolist() == [[-1, -1]] * 3
    assert batch.padded(length=5).shape == (3, 5, 2)
    assert batch.mask(4).sum(axis=1).tolist() == [2, 0, 3]
    with pytest.raises(DataError, match="3 rows, which do not fit into a length of 2"):
        batch.padded(length=2)


def test_indices_and_slices_are_views() -> None:
    batch = Ragged(np.arange(10), np.array([0, 2, 2, 7, 10]))
    assert [sample.tolist() for sample in batch] == [[0, 1], [], [2, 3, 4, 5, 6], [7, 8, 9]]
    assert batch[-1].tolist() == [7, 8, 9]
    part = batch[1:3]
    assert [sample.tolist() for sample in part] == [[], [2, 3, 4, 5, 6]]
    part.values[0] = 99
    assert batch.values[2] == 99
    assert len(batch[3:1]) == 0
    with pytest.raises(IndexError):
        batch[4]
    with pytest.raises(DataError, match="steps of 1"):
        batch[::2]
