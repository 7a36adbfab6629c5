from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import hpcad.data
from hpcad.data import builtin_names, open_dataset, verify_dataset
from hpcad.errors import DataError

PLACE = Path(hpcad.data.__file__).parent / "builtin"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_digits", PLACE / "make_digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_digits_are_whole_and_split_by_class() -> None:
    assert builtin_names() == [
        "digits/test",
        "digits/train",
        "synthetic-tokens/test",
        "synthetic-tokens/train",
    ]
    counts = {}
    for part, samples, shards in (("train", 1437, 3), ("test", 360, 1)):
        dataset = open_dataset(f"builtin:digits/{part}")
        assert verify_dataset(f"builtin:digits/{part}").ok
        assert len(dataset.manifest.shards) == shards
        data = dataset.read(np.arange(samples))
        assert len(dataset) == samples
        assert data["x"].shape == (samples, 8, 8)
        assert data["x"].max() == dataset.metadata["largest_value"] == 16
        assert dataset.metadata["class_names"] == list("0123456789")
        assert "CC BY 4.0" in dataset.manifest.licence
        counts[part] = np.bincount(data["y"], minlength=10)
    share = counts["test"] / (counts["test"] + counts["train"])
    assert np.abs(share - 360 / 1797).max() < 0.005
    assert "10.24432/C50P49" in (PLACE / "digits" / "ATTRIBUTION.txt").read_text()


def test_no_sample_is_in_both_parts() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 500)
    train, test = maker().split(labels, 100)
    assert len(test) == 100
    assert sorted([*train, *test]) == list(range(500))


def test_the_digits_can_be_made_again(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn carries the original digits")
    maker().make(tmp_path)
    for part in ("train", "test"):
        made = {path.name: path.read_bytes() for path in (tmp_path / part).iterdir()}
        shipped = {path.name: path.read_bytes() for path in (PLACE / "digits" / part).iterdir()}
        assert made["manifest.json"] == shipped["manifest.json"]
        assert made.keys() == shipped.keys()


@pytest.mark.parametrize("name", ["digits", "nothing", "../sources", "", "/etc"])
def test_other_names_list_what_there_is(name: str) -> None:
    with pytest.raises(DataError, match="there are: builtin:digits/test, builtin:digits/train"):
        open_dataset(f"builtin:{name}")
