from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.sources import idx_source
from hpcad.data.sources import source as source_module
from hpcad.errors import DataError

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
FASHION = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "fashion-mnist"


def idx_bytes(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 5, 4)).astype(np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    return (np.arange(11) % 3).astype(np.uint8)


@pytest.mark.parametrize("zipped", [False, True])
def test_images_and_labels(
    tmp_path: Path,
    images: np.ndarray,
    labels: np.ndarray,
    zipped: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_module, "CHUNK_BYTES", 60)  # three images a chunk
    squeeze = gzip.compress if zipped else bytes
    (tmp_path / "x").write_bytes(squeeze(idx_bytes(images)))
    (tmp_path / "y").write_bytes(squeeze(idx_bytes(labels)))
    source = idx_source(tmp_path / "x", tmp_path / "y", class_names=["a", "b", "c"])
    manifest = pack(source, tmp_path / "d", shard_samples=4)
    assert manifest.metadata == {"classes": 3, "class_names": ["a", "b", "c"]}
    data = open_dataset(tmp_path / "d").read(np.arange(11))
    np.testing.assert_array_equal(data["x"], images)
    np.testing.assert_array_equal(data["y"], labels)


@pytest.mark.parametrize("code", CODES)
def test_every_type_without_labels(tmp_path: Path, code: str) -> None:
    array = np.arange(-6, 6).astype(code).reshape(6, 2)
    (tmp_path / "x").write_bytes(idx_bytes(array))
    pack(idx_source(tmp_path / "x", fields=("signal",)), tmp_path / "d")
    data = open_dataset(tmp_path / "d").read(np.arange(6))
    np.testing.assert_array_equal(data["signal"], array)
    assert data["signal"].dtype == array.dtype


def consume(path: Path) -> None:
    source = idx_source(path)
    for _ in source.chunks(0, source.count):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], "cut short: it announces 11 samples and holds 10"),
        (lambda b: b[:16], "announces 11 samples and holds 0"),
        (lambda b: b[:10], "cut short in its header"),
        (lambda b: b[:2], "is not an IDX file"),
        (lambda b: b"", "is not an IDX file"),
        (lambda b: b"PNG" + b, "is not an IDX file"),
        (lambda b: b[:2] + b"\x07" + b[3:], "is not an IDX file"),
        (lambda b: b[:3] + b"\0" + b[4:], "is not an IDX file"),
        (lambda b: b + b"\0", "goes on after the 11 samples"),
        (lambda b: b[:4] + b"\0\0\0\0" + b[8:], "0 samples of shape"),
        (lambda b: b[:8] + b"\xff" * 8 + b[16:], "cannot be packed"),
        (lambda b: b[:4] + b"\xff" * 4 + b[8:], "announces 4294967295 samples and holds 11"),
        (lambda b: gzip.compress(b)[:-12], "gzip file is damaged"),
        (lambda b: gzip.compress(b[:-1]), "holds 10"),
        (lambda b: gzip.compress(b)[:-8] + b"\0" * 8, "gzip file is damaged"),
        (lambda b: gzip.compress(b)[:12] + b"\xff" * 30, "gzip file is damaged"),
    ],
)
def test_damaged_files(tmp_path: Path, images: np.ndarray, change, message: str) -> None:
    path = tmp_path / "images-idx3"
    path.write_bytes(change(idx_bytes(images)))
    with pytest.raises(DataError, match=f"{path}: .*{message}"):
        consume(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        idx_source(tmp_path / "no")
    with pytest.raises(DataError, match="cannot be read"):
        idx_source(tmp_path)


def test_labels_that_do_not_fit(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    (tmp_path / "x").write_bytes(idx_bytes(images))

    def using(array: np.ndarray, **options: list[str]) -> None:
        (tmp_path / "y").write_bytes(idx_bytes(array))
        idx_source(tmp_path / "x", tmp_path / "y", **options)

    with pytest.raises(DataError, match=r"x has 11 samples, but .*y has 10 labels"):
        using(labels[:10])
    with pytest.raises(DataError, match=r"labels must be integers of shape \(n,\)"):
        using(images)
    with pytest.raises(DataError, match=r"labels must be integers of shape \(n,\)"):
        using(labels.astype("f4"))
    with pytest.raises(DataError, match="label -1 of sample 4 is negative"):
        using(np.array([0, 1, 2, 3, -1, *range(6)], "i4"))
    with pytest.raises(DataError, match="label 2 has no name"):
        using(labels, class_names=["a", "b"])
    with pytest.raises(DataError, match="two different field names"):
        idx_source(tmp_path / "x", tmp_path / "y", fields=("x", "x"))


def test_fashion_mnist(tmp_path: Path) -> None:
    if not FASHION.is_dir():
        pytest.skip("the original Fashion-MNIST files are not in ../shared/data")
    files = [FASHION / f"t10k-{part}-ubyte.gz" for part in ("images-idx3", "labels-idx1")]
    manifest = pack(idx_source(*files), tmp_path / "d", shard_samples=4096)
    assert [shard.count for shard in manifest.shards] == [4096, 4096, 1808]
    assert manifest.metadata == {"classes": 10}
    dataset = open_dataset(tmp_path / "d")
    data = dataset.read(np.arange(10_000))
    assert data["x"].shape == (10_000, 28, 28)
    assert np.bincount(data["y"]).tolist() == [1000] * 10
    raw = gzip.decompress(files[0].read_bytes())[16:]
    np.testing.assert_array_equal(data["x"].ravel(), np.frombuffer(raw, np.uint8))


@pytest.mark.parametrize("zipped", [False, True])
def test_ranges_in_any_order_and_a_zipped_file_is_unzipped_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    array = np.arange(600, dtype=np.int32).reshape(100, 6)
    data = idx_bytes(array)
    (tmp_path / "x").write_bytes(gzip.compress(data) if zipped else data)
    source = idx_source(tmp_path / "x")
    opened: list[int] = []
    real = gzip.GzipFile
    monkeypatch.setattr(gzip, "GzipFile", lambda **how: opened.append(1) or real(**how))
    for start in range(0, 100, 10):
        (chunk,) = source.chunks(start, start + 10)
        np.testing.assert_array_equal(chunk["x"], array[start : start + 10])
    assert len(opened) == zipped
    for start in (50, 70, 20):
        (chunk,) = source.chunks(start, start + 10)
        np.testing.assert_array_equal(chunk["x"], array[start : start + 10])
    assert len(opened) == 3 * zipped
