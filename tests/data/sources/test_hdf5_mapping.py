"""Existing HDF5 files become samples by a mapping, whatever their layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.sources import hdf5_source, parse_fields, read_mapping
from hpcad.errors import DataError

LIGO = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "gwosc-ligo"
SERIES = np.random.default_rng(0).standard_normal((103, 2))
IMAGES = np.arange(12 * 10 * 3, dtype=">i2").reshape(12, 10, 3)


def write(path: Path, site: str = "H1", labels: Any = range(10)) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "a/series", data=SERIES, chunks=(10, 2), compression="gzip", shuffle=True, fletcher32=1
        )
        file.create_dataset("a/lzf", data=SERIES, chunks=(7, 1), compression="lzf")
        file["images"] = IMAGES
        file["labels"] = np.array(labels, np.uint8)
        file["flags"] = np.arange(10) % 2 == 0
        file["site"] = site
        file["start"] = 77
        file["a"].attrs["rate"] = 0.5
        file["a/series"].attrs["kind"] = np.bytes_(b"quiet")
    return path


def packed(paths: Any, fields: list[str], place: Path, **how: Any) -> Any:
    pack(hdf5_source(paths, parse_fields(fields, **how)), place, shard_samples=7)
    dataset = open_dataset(place)
    return dataset, dataset.read(np.arange(len(dataset)))


@pytest.mark.parametrize("path", ["a/series", "/a/lzf"])
@pytest.mark.parametrize(("window", "stride"), [(10, 0), (10, 3), (4, 10), (103, 1), (1, 1)])
def test_windows_over_a_series(tmp_path: Path, path: str, window: int, stride: int) -> None:
    file = write(tmp_path / "f.h5")
    _, found = packed([file], [f"x={path}"], tmp_path / "d", window=window, stride=stride)
    step = stride or window
    expected = [SERIES[i : i + window] for i in range(0, 103 - window + 1, step)]
    np.testing.assert_array_equal(found["x"], expected)


def test_rows_along_any_axis_and_labels(tmp_path: Path) -> None:
    file = write(tmp_path / "f.h5")
    fields = ["x=images,axis=1,dtype=float32", "y=labels", "z=images,axis=-2", "ok=flags"]
    dataset, found = packed([file, file], fields, tmp_path / "d")
    once = np.moveaxis(IMAGES, 1, 0)
    np.testing.assert_array_equal(found["x"], np.concatenate([once, once]))
    np.testing.assert_array_equal(found["z"], found["x"])
    assert (found["x"].dtype, found["z"].dtype, found["ok"].dtype) == ("float32", "int16", "uint8")
    np.testing.assert_array_equal(found["y"], [*range(10), *range(10)])
    assert dataset.metadata["classes"] == 10
    assert dataset.metadata["files"] == [["f.h5", 10], ["f.h5", 10]]


def test_constants_of_files_and_attributes(tmp_path: Path) -> None:
    files = [write(tmp_path / "b.h5", "L1"), write(tmp_path / "a.h5", "H1")]
    fields = ["x=/a/series,window=50", "y=/site", "t=/start", "r=/a@rate,dtype=float32"]
    dataset, found = packed(files, [*fields, "k=a/series@kind"], tmp_path / "d")
    assert found["y"].tolist() == [1, 1, 0, 0]
    assert dataset.metadata["class_names"] == ["H1", "L1"]
    assert found["t"].tolist() == [77] * 4
    assert (found["r"].dtype, found["r"].tolist()) == ("float32", [0.5] * 4)
    assert dataset.metadata["k_names"] == ["quiet"]


def test_what_is_in_no_window_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "f.h5")
    (note,) = hdf5_source([file], parse_fields(["x=a/series"], window=25)).notes
    assert note.endswith("/series: the last 3 of 103 are in no window")


def test_a_mapping_in_toml_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        '[fields.x]\npath = "/a/series"\nwindow = 10\nstride = 5\ndtype = "float32"\n'
        '[fields.t]\npath = "/a"\nattribute = "rate"\n'
    )
    words = ["x=/a/series,window=10,stride=5,dtype=float32", "t=/a@rate"]
    assert read_mapping(tmp_path / "m.toml") == parse_fields(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "at least one field"),
        (["x"], "a field is NAME=PATH"),
        (["x=/a,window"], "window is '', expected int"),
        (["x=/a,size=3"], "'size' is not one of attribute, window, stride, axis, dtype"),
        (["x=/a,window=-1"], "positive numbers"),
        (["x=/a,dtype=foo"], "'foo' is not a dtype"),
        (["x=/a,dtype=complex64"], "cannot be packed"),
        (["x=/a", "x=/b"], "named twice"),
    ],
)
def test_fields_that_are_none(words: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_fields(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "is not a TOML file"),
        ("x = 1", "tables .fields.NAME. and nothing else"),
        ("[fields.x]\nwindow = 1", "needs path"),
        ('[fields.x]\npath = "a"\nwindow = "b"', "window is 'b', expected int"),
        ('[fields.x]\npath = "a"\nwindow = true', "window is True, expected int"),
    ],
)
def test_mappings_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_mapping(tmp_path / "m.toml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x=/none"], "there is no /none; / holds: a, flags, images, labels, site, start"),
        (["x=/a"], "/a is a group, not a dataset; /a holds: lzf, series"),
        (["x=/images/b"], "/images is a dataset; it holds no 'b'"),
        (["x=/images,axis=3"], "has no axis 3"),
        (["x=/a/series,window=104"], "holds no sample of 104"),
        (["x=/images", "y=/labels"], "number of samples .x: 12, y: 10"),
        (["x=/images", "y=/a@none"], "attribute 'none' does not exist; its attributes are: rate"),
        (["y=/start"], "all fields are constants"),
        (["x=/names"], "there is no /names"),
    ],
)
def test_mappings_that_do_not_fit_the_file(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        hdf5_source([write(tmp_path / "f.h5")], parse_fields(words))


def test_files_that_differ(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.h5"), write(tmp_path / "b.h5")
    with h5py.File(second, "r+") as file:
        del file["images"]
        file["images"] = IMAGES[:, :9]
    with pytest.raises(DataError, match=r"b.h5: samples of field 'x' are int16 \(9, 3\), those of"):
        hdf5_source([first, second], parse_fields(["x=images"]))


def test_ligo_strain_in_windows_of_a_second(tmp_path: Path) -> None:
    files = sorted(LIGO.glob("*LOSC*.hdf5"))
    if not files:
        pytest.skip("the LIGO strain files are not in ../shared/data")
    fields = ["x=/strain/Strain", "q=/quality/simple/DQmask,window=0", "y=/meta/Detector"]
    dataset, found = packed(files, fields, tmp_path / "d", window=4096)
    assert (len(dataset), dataset.fields["x"].shape) == (6 * 32, (4096,))
    assert dataset.metadata["class_names"] == ["H1", "L1"]
    assert found["y"].tolist() == [0] * 96 + [1] * 96
    with h5py.File(files[3], locking=False) as file:
        strain, mask = file["strain/Strain"][:], file["quality/simple/DQmask"][:]
    np.testing.assert_array_equal(found["x"][96:128].reshape(-1), strain)
    np.testing.assert_array_equal(found["q"][96:128], mask)
