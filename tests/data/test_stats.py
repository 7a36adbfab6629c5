from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.packing.progress import Progress
from hpcad.data.sources import array_source
from hpcad.data.stats import FieldSurvey, draw, survey, table
from hpcad.errors import DataError
from hpcad.parallel import SerialCommunicator

RNG = np.random.default_rng(0)
X = RNG.standard_normal((500, 3)).astype(np.float32)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 1, 2, 3, 3, 5])


def surveyed(arrays: dict[str, np.ndarray], place: Path, bins: int = 8) -> dict[str, FieldSurvey]:
    pack(array_source(arrays), place, shard_samples=60)
    dataset = open_dataset(place, verify=False)
    return survey(dataset, SerialCommunicator(), bins=bins, progress=Progress())


def test_the_numbers_of_a_field(tmp_path: Path) -> None:
    found = surveyed({"x": X}, tmp_path / "d")["x"]
    np.testing.assert_allclose(found.moments["mean"], X.mean(0, dtype="f8"), rtol=1e-12)
    np.testing.assert_allclose(found.moments["std"], X.std(0, dtype="f8"), rtol=1e-12)
    counts, edges = np.histogram(X.astype("f8"), 8, (float(X.min()), float(X.max())))
    np.testing.assert_allclose(found.edges, edges)
    np.testing.assert_array_equal(found.counts, counts)
    assert (found.nan, found.infinite) == (0, 0)


def test_numbers_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    found = surveyed({"x": SPECIAL}, tmp_path / "d", bins=4)["x"]
    assert (found.nan, found.infinite, found.moments["count"]) == (1, 2, 5)
    assert found.counts.tolist() == [1, 1, 2, 1]


@pytest.mark.parametrize(
    "numbers",
    [
        np.full(5, 127, np.uint32),
        np.full(5, -1e-300),
        np.array([-1.7e308, 1.7e308]),
        np.array([1.0, np.nextafter(1.0, 2)]),
        np.full(5, np.nan),
        np.array([0, 2**64 - 1], np.uint64),
    ],
)
def test_a_histogram_holds_all_finite_numbers(tmp_path: Path, numbers: np.ndarray) -> None:
    found = surveyed({"x": numbers}, tmp_path / "d")["x"]
    assert found.counts.sum() == np.isfinite(numbers.astype("f8")).sum()
    assert np.isfinite(found.edges).all()
    assert "field x" in table({"x": found})


def test_text_and_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    found = surveyed({"x": X, "y": np.arange(500) % 3}, tmp_path / "d")
    text = table(found)
    assert "field x: float32 (3,)" in text
    assert "numbers 1,500, of these NaN 0, infinite 0" in text
    assert "|########################################| 167" in text
    draw(found, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(DataError, match="cannot be written"):
        draw(found, tmp_path / "none" / "p.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(DataError, match="needs matplotlib"):
        draw({}, tmp_path / "p.png")


def test_damage_and_no_bins(tmp_path: Path, make: Callable[..., Path]) -> None:
    directory = make(10, 4)
    dataset = open_dataset(directory, verify=False)
    with pytest.raises(DataError, match="at least 1 bin"):
        survey(dataset, SerialCommunicator(), bins=0, progress=Progress())
    (directory / "shard-00001.h5").unlink()
    with pytest.raises(DataError, match="this shard is missing"):
        survey(dataset, SerialCommunicator(), progress=Progress())
