from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.sources import image_source
from hpcad.data.sources import source as source_module
from hpcad.errors import DataError

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def save(path: Path, pixels: np.ndarray, **options: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def grey(tmp_path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    images = {
        name: rng.integers(0, 256, (4, 6)).astype(np.uint8)
        for name in ("cat/1.png", "cat/2.PNG", "dog/a.bmp", "ant/z.png")
    }
    for name, pixels in images.items():
        save(tmp_path / "in" / name, pixels)
    return images


def test_grey_images(
    tmp_path: Path, grey: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "CHUNK_BYTES", 70)  # two images a chunk
    (tmp_path / "in" / ".cache").mkdir()
    (tmp_path / "in" / "cat" / "notes.txt").touch()
    pack(image_source(tmp_path / "in"), tmp_path / "d", shard_samples=3)
    dataset = open_dataset(tmp_path / "d")
    assert dataset.metadata == {"classes": 3, "class_names": ["ant", "cat", "dog"]}
    data = dataset.read(np.arange(4))
    expected = [grey[name] for name in ("ant/z.png", "cat/1.png", "cat/2.PNG", "dog/a.bmp")]
    np.testing.assert_array_equal(data["x"], expected)
    np.testing.assert_array_equal(data["y"], [0, 1, 1, 2])


def test_one_colour_image_makes_all_colour(tmp_path: Path, grey: dict[str, np.ndarray]) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    save(tmp_path / "in" / "dog" / "b.png", colours)
    pack(image_source(tmp_path / "in"), tmp_path / "d")
    data = open_dataset(tmp_path / "d").read(np.arange(5))
    assert data["x"].shape == (5, 4, 6, 3)
    np.testing.assert_array_equal(data["x"][4], colours)
    np.testing.assert_array_equal(data["x"][3], np.stack([grey["dog/a.bmp"]] * 3, axis=-1))


def test_the_image_of_another_size_is_named(tmp_path: Path, grey: dict[str, np.ndarray]) -> None:
    save(tmp_path / "in" / "ant" / "a.png", np.zeros((5, 6), np.uint8))
    with pytest.raises(DataError, match=r"ant/a\.png: is 6x5 pixels, the others are 6x4"):
        image_source(tmp_path / "in")


def test_other_files_that_do_not_fit(tmp_path: Path, grey: dict[str, np.ndarray]) -> None:
    odd = tmp_path / "in" / "cat" / "odd.png"
    odd.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"odd\.png: is not an image"):
        image_source(tmp_path / "in")
    save(odd, np.zeros((4, 6), np.uint16))
    with pytest.raises(DataError, match=r"odd\.png: pixels of mode I;16 do not fit 8 bits"):
        image_source(tmp_path / "in")
    save(odd, np.random.default_rng(0).integers(0, 256, (4, 6)).astype(np.uint8))
    odd.write_bytes(odd.read_bytes()[:50])
    with pytest.raises(DataError, match=r"odd\.png: this image is damaged"):
        pack(image_source(tmp_path / "in"), tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        image_source(tmp_path / "none")
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="put the images of each class into its own"):
        image_source(tmp_path / "in")
    (tmp_path / "in" / "cat").mkdir()
    with pytest.raises(DataError, match=r"cat: holds no images"):
        image_source(tmp_path / "in")


def test_without_pillow(
    tmp_path: Path, grey: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"pip install 'hpcad\[images\]'"):
        image_source(tmp_path / "in")
