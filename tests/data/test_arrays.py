"""Datasets of arrays in memory."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.data import ArrayDataset, Loader
from hpcad.errors import DataError


def test_rows_fields_and_hash():
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    data = ArrayDataset({"x": x, "y": y}, {"classes": 6})
    assert len(data) == 6
    assert data.fields["x"].shape == (2,)
    assert data.metadata == {"classes": 6}
    np.testing.assert_array_equal(data.read(np.array([5, 0]))["x"], x[[5, 0]])
    assert ArrayDataset({"x": x, "y": y}).hash == data.hash
    assert ArrayDataset({"x": x + 1, "y": y}).hash != data.hash


def test_a_loader_reads_it():
    data = ArrayDataset({"y": np.arange(10)})
    with Loader(data, 4, epochs=1) as loader:
        seen = [int(i) for batch in loader for i in batch["y"]]
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "one length"),
        ({"x": np.ones(3), "y": np.ones(4)}, "one length.*3.*4"),
        ({"x": np.ones(3), "y": np.ones(())}, "one length"),
        ({"x": np.ones((0, 2))}, "no samples"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(DataError, match=message):
        ArrayDataset(fields)


def test_ids_outside_are_refused():
    with pytest.raises(DataError, match="0 to 2"):
        ArrayDataset({"x": np.ones(3)}).read(np.array([3]))
