from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.sources import array_source, npy_source, npz_source
from hpcad.data.sources import source as source_module
from hpcad.errors import DataError

X = np.arange(30, dtype=np.float32).reshape(10, 3)
Y = np.arange(10)


def test_npy_files_become_fields_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "CHUNK_BYTES", 70)  # three samples a chunk
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    pack(npy_source(tmp_path / "x.npy", tmp_path / "y.npy"), tmp_path / "d", shard_samples=4)
    data = open_dataset(tmp_path / "d").read(np.arange(10))
    np.testing.assert_array_equal(data["x"], X)
    np.testing.assert_array_equal(data["y"], Y)


def test_an_npz_gives_its_own_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=X, flag=Y > 3, wide=Y.astype(">i2"))
    pack(npz_source(tmp_path / "a.npz"), tmp_path / "d")
    dataset = open_dataset(tmp_path / "d")
    assert {name: str(spec) for name, spec in dataset.fields.items()} == {
        "image": "float32 (3,)",
        "flag": "uint8 ()",
        "wide": "int16 ()",
    }
    data = dataset.read(np.arange(10))
    np.testing.assert_array_equal(data["image"], X)
    np.testing.assert_array_equal(data["flag"], Y > 3)
    np.testing.assert_array_equal(data["wide"], Y)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array"),
        ({"x": X, "y": Y[:9]}, "'x' has 10, 'y' has 9"),
        ({"x": X[:0]}, "holds no samples"),
        ({"x": X[:, :0]}, "holds no samples"),
        ({"x": np.float32(3)}, "holds no samples"),
        ({"x": Y.astype(complex)}, "complex128 cannot be packed"),
        ({"x": np.array(["a", "b"])}, "cannot be packed"),
        ({"x": np.array([{}])}, "object cannot be packed"),
        ({"x": np.zeros(3, np.longdouble)}, "cannot be packed"),
        ({"x": np.zeros(3, "M8[s]")}, "cannot be packed"),
    ],
)
def test_arrays_that_do_not_fit(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        array_source(arrays, origin="mine")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"x\.npy: NumPy cannot read"):
        npy_source(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}]))
    with pytest.raises(DataError, match=r"x\.npz: NumPy cannot read"):
        npz_source(tmp_path / "x.npz")


def test_damaged_and_mistaken_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", x=X)
    whole = (tmp_path / "x.npy").read_bytes()
    archive = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "short.npy").write_bytes(whole[:-5])
    (tmp_path / "noise.npy").write_bytes(b"noise" * 10)
    (tmp_path / "short.npz").write_bytes(archive[: len(archive) // 2])
    for path in (tmp_path / "short.npy", tmp_path / "noise.npy"):
        with pytest.raises(DataError, match=f"{path}: NumPy cannot read"):
            npy_source(path)
    with pytest.raises(DataError, match=r"short\.npz: NumPy cannot read"):
        npz_source(tmp_path / "short.npz")
    with pytest.raises(DataError, match="give it with --npz"):
        npy_source(tmp_path / "x.npz")
    with pytest.raises(DataError, match="give single arrays with --npy"):
        npz_source(tmp_path / "x.npy")
    for read in (npy_source, npz_source):
        with pytest.raises(DataError, match="No such file"):
            read(tmp_path / "none")
    with pytest.raises(DataError, match="as many field names"):
        npy_source(tmp_path / "x.npy", tmp_path / "x.npy", fields=("x",))
