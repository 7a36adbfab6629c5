"""Statistics agree with NumPy's of the whole, however the samples come."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.manifest import DTYPES
from hpcad.data.sources import array_source
from hpcad.data.statistics import Statistics, channels_of


def of(array: np.ndarray, pieces: int = 1) -> dict:
    found = Statistics(array.shape[1:], array.dtype)
    for piece in np.array_split(array, pieces):
        found.update(piece)
    return found.to_json()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (5, 64), (5, 65)])
def test_they_are_those_of_numpy(dtype: np.dtype, shape: tuple[int, ...]) -> None:
    array = (np.random.default_rng(0).random((500, *shape)) * 100).astype(dtype)
    found = of(array, pieces=7)
    flat = array.reshape(-1, channels_of(shape) or 1).astype(np.float64)
    scalar = not channels_of(shape)
    for key, expected in {
        "mean": flat.mean(axis=0),
        "std": flat.std(axis=0),
        "min": flat.min(axis=0),
        "max": flat.max(axis=0),
    }.items():
        np.testing.assert_allclose(found[key], expected[0] if scalar else expected, rtol=1e-13)
    assert found["count"] == (len(flat) if scalar else [len(flat)] * len(flat[0]))


def test_a_large_mean_costs_no_digits() -> None:
    array = 1e9 + np.random.default_rng(0).random(100_000)
    exact = [Fraction(x) for x in array.tolist()]
    mean = sum(exact) / len(exact)
    variance = float(sum((x - mean) ** 2 for x in exact) / len(exact))
    assert of(array, pieces=13)["std"] == pytest.approx(variance**0.5, rel=1e-10)


def test_numbers_that_are_not_finite_are_left_out() -> None:
    array = np.array([[1, np.nan], [3, np.inf], [5, -np.inf]], np.float32)
    found = of(array)
    assert found == {
        "count": [3, 0],
        "mean": [3.0, None],
        "std": [pytest.approx((8 / 3) ** 0.5), None],
        "min": [1.0, None],
        "max": [5.0, None],
    }


def test_the_limits_of_a_dtype_are_no_problem() -> None:
    for dtype in (np.int64, np.uint64):
        limits = np.iinfo(dtype)
        found = of(np.array([limits.min, limits.max], dtype))
        assert (found["min"], found["max"]) == (limits.min, limits.max)
    found = of(np.array([-1e308, 1e308]))
    assert (found["min"], found["max"]) == (-1e308, 1e308)
    assert found["std"] is None  # its square is beyond float64


def test_no_samples_at_all() -> None:
    assert Statistics((), np.dtype("f4")).to_json() == {
        "count": 0,
        "mean": None,
        "std": None,
        "min": None,
        "max": None,
    }


def test_a_packed_dataset_has_those_of_all_its_shards(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((100, 8, 3), np.float32)
    pack(array_source({"x": x}), tmp_path / "d", shard_samples=7)
    found = open_dataset(tmp_path / "d").manifest.statistics["x"]
    np.testing.assert_allclose(found["mean"], x.mean(axis=(0, 1), dtype=float), rtol=1e-12)
    assert found["max"] == x.max(axis=(0, 1)).tolist()
