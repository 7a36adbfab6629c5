"""Statistics agree with NumPy's of the whole, however the samples come."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.manifest.contents import DTYPES
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
    # A mean of 1e9 is kept to 1e-7; sums of squares would be wrong by more than the variance.
    assert of(array, pieces=13)["std"] == pytest.approx(variance**0.5, rel=1e-9)


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


SPECIAL = np.array([[1, np.inf], [np.nan, 3], [1e300, -1e300]])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint64", "float16", "float32", "float64"])
def test_the_state_is_exact_through_json(dtype: str) -> None:
    of = Statistics((5,), np.dtype(dtype))
    of.update((np.random.default_rng(0).random((99, 5)) * 200).astype(dtype))
    again = Statistics.restored((5,), np.dtype(dtype), json.loads(json.dumps(of.state())))
    assert again.state() == of.state()
    assert again.to_json() == of.to_json()


def test_the_state_of_numbers_beyond_float64() -> None:
    of = Statistics((2,), np.dtype("f8"))
    of.update(SPECIAL)
    again = Statistics.restored((2,), np.dtype("f8"), json.loads(json.dumps(of.state())))
    assert again.to_json() == of.to_json()
    assert of.to_json()["max"] == [1e300, 3]


def test_merged_parts_are_the_whole() -> None:
    numbers = np.random.default_rng(1).standard_normal((1000, 3)) + 1e6
    whole, merged = Statistics((3,), np.dtype("f8")), Statistics((3,), np.dtype("f8"))
    whole.update(numbers)
    for part in (numbers[:0], numbers[:13], numbers[13:900], numbers[900:]):
        of = Statistics((3,), np.dtype("f8"))
        of.update(part)
        merged.merge(of)
    a, b = whole.to_json(), merged.to_json()
    assert (a["count"], a["min"], a["max"]) == (b["count"], b["min"], b["max"])
    exact = [math.fsum(numbers[:, k]) / len(numbers) for k in range(3)]
    np.testing.assert_allclose(a["mean"], exact, rtol=5e-16)
    np.testing.assert_allclose(b["mean"], exact, rtol=5e-16)
    np.testing.assert_allclose(b["std"], numbers.std(0), rtol=1e-10)


def test_a_state_of_another_field_is_refused() -> None:
    state = Statistics((3,), np.dtype("f8")).state()
    with pytest.raises(ValueError, match="has 3 numbers, not 2"):
        Statistics.restored((2,), np.dtype("f8"), state)
