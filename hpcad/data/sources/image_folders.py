"""Images in class folders: ``folder/cat/1.png``, ``folder/dog/7.jpg``, ..."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import DTYPES, FieldSpec
from hpcad.data.sources.source import Source, rows_per_chunk, two_names
from hpcad.errors import DataError

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
)
_GREY_MODES = ("1", "L")
_COLOUR_MODES = ("RGB", "P", "RGBA", "CMYK", "YCbCr", "LA", "PA", "HSV", "LAB", "RGBX")


def image_source(folder: str | Path, *, fields: tuple[str, ...] = ("x", "y")) -> Source:
    """Samples from a folder with one folder of images per class; needs Pillow.

    The classes are the folders' names in sorted order. ``x`` is uint8 of shape ``(height, width)``
    if all images are grey, else ``(height, width, 3)``; ``y`` is int64.

    Raises
    ------
    DataError
        If Pillow is absent, a class is empty, a file is not an image, or one differs in size.
    """
    x, y = two_names(fields)
    folder = Path(folder)
    files, names = _find(folder)
    mode, (width, height) = _survey([file for file, _ in files])
    shape = (height, width) if mode == "L" else (height, width, 3)
    specs = {x: FieldSpec(shape, DTYPES["uint8"]), y: FieldSpec((), DTYPES["int64"])}
    rows = rows_per_chunk(specs)

    def chunks(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for first in range(start, stop, rows):
            part = files[first : min(first + rows, stop)]
            yield {
                x: np.stack([_pixels(file, mode) for file, _ in part]),
                y: np.array([label for _, label in part], np.int64),
            }

    metadata: dict[str, Any] = {"classes": len(names), "class_names": names}
    read = tuple(file for file, _ in files)
    return Source(str(folder), specs, len(files), chunks, metadata=metadata, files=read)


def _find(folder: Path) -> tuple[list[tuple[Path, int]], list[str]]:
    """All image files with their class numbers, and the class names."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(f"{folder}: holds no folders; put the images of each class into its own")
    files: list[tuple[Path, int]] = []
    for number, class_folder in enumerate(classes):
        found = sorted(p for p in class_folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{class_folder}: holds no images ({', '.join(sorted(SUFFIXES))})")
        files += [(file, number) for file in found]
    return files, [class_folder.name for class_folder in classes]


def _survey(files: list[Path]) -> tuple[str, tuple[int, int]]:
    """The common mode, "L" or "RGB", and size (width, height), from the headers alone."""
    sizes: list[tuple[int, int]] = []
    grey = True
    for file in files:
        mode, size = _read(file, lambda image: (image.mode, image.size))
        if mode not in _GREY_MODES + _COLOUR_MODES:
            raise DataError(
                f"{file}: pixels of mode {mode} do not fit 8 bits; convert the images to NumPy "
                "arrays and pack those"
            )
        grey = grey and mode in _GREY_MODES
        sizes.append(size)
    usual = Counter(sizes).most_common(1)[0][0]
    for file, size in zip(files, sizes, strict=True):
        if size != usual:
            raise DataError(
                f"{file}: is {size[0]}x{size[1]} pixels, the others are {usual[0]}x{usual[1]}; "
                "scale all images to one size first"
            )
    return "L" if grey else "RGB", usual


def _pixels(file: Path, mode: str) -> np.ndarray:
    return _read(file, lambda image: np.array(image.convert(mode), np.uint8))


def _read(file: Path, use: Any) -> Any:
    """``use(image)`` of an opened image, with Pillow's errors in our words."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError(
            "packing images needs Pillow, which is not installed: pip install 'hpcad[images]'"
        ) from error
    try:
        with Image.open(file) as image:
            return use(image)
    except UnidentifiedImageError as error:
        raise DataError(f"{file}: is not an image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{file}: is too large an image ({error})") from error
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's ways to call a file damaged
        raise DataError(f"{file}: this image is damaged ({error})") from error
