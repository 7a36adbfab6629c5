from __future__ import annotations

import json

import numpy as np
import pytest

from hpcad.data.statistics import Statistics

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
    np.testing.assert_allclose(b["mean"], numbers.mean(0), rtol=1e-15)
    np.testing.assert_allclose(b["std"], numbers.std(0), rtol=1e-10)


def test_a_state_of_another_field_is_refused() -> None:
    state = Statistics((3,), np.dtype("f8")).state()
    with pytest.raises(ValueError, match="has 3 numbers, not 2"):
        Statistics.restored((2,), np.dtype("f8"), state)
