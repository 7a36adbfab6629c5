"""How a convolution is cut into units of work, and where its factors are: the tables of C.

Offsets count numbers from the first pixel of a unit. A unit is some whole images, or a band of
rows of one; every unit has the same geometry, so one set of tables serves all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Pair = tuple[int, int]


@dataclass(frozen=True)
class Units:
    """Work in pieces.

    Attributes
    ----------
    images : int
        Whole images per unit.
    rows, last_rows : int
        Of an image; with bands, of a band and of an image's last band.
    bands : int
        Per image; above 1 a unit is one band of one image.
    count : int
    """

    images: int
    rows: int
    last_rows: int
    bands: int
    count: int


def cut(
    images: int, rows: int, multiple: int, image_bytes: int, unit_bytes: int, workers: int
) -> Units:
    """Units of about a size, in a number that the workers can share evenly.

    Parameters
    ----------
    images, rows : int
    multiple : int
        Bands start at rows that are multiples of it.
    image_bytes, unit_bytes : int
        Scratch space that one image takes, and that a unit may take.
    workers : int
    """
    bands = max(math.ceil(image_bytes / unit_bytes), math.ceil(workers / max(1, images)))
    band = math.ceil(math.ceil(rows / bands) / multiple) * multiple
    bands = math.ceil(rows / band)
    if bands > 1:
        return Units(1, band, rows - (bands - 1) * band, bands, images * bands)
    most = max(1, min(unit_bytes // max(1, image_bytes), images))
    rounds = math.ceil(images / (most * workers))
    each = max(1, math.ceil(images / max(1, rounds * workers)))
    return Units(each, rows, rows, 1, math.ceil(images / each))


@dataclass(frozen=True)
class Window:
    """The rows (or columns) of a block: ``size`` of them, from ``start`` of the image."""

    start: int
    size: int


def window(rows: int, kernel: int, stride: int, padding: int) -> Window:
    """What the first ``rows`` outputs of a convolution read."""
    return Window(-padding, (rows - 1) * stride + kernel)


def adjoint_window(rows: int, kernel: int, stride: int, padding: int) -> Window:
    """Where the first ``rows`` inputs get gradients from."""
    start = (padding - kernel + 1) // stride
    return Window(start, (rows - 1 + padding) // stride - start + 1)


@dataclass(frozen=True)
class Phase:
    """Outputs whose factors lie at the same relative places.

    Attributes
    ----------
    pixels, last_pixels : int
        Per image or band, and in an image's last band.
    origin, place : int32 array, shape (pixels of a unit,)
        Where a pixel reads from, and its place in the result.
    factor, weight : int32 array, shape (taps * channels read,)
        Offsets of the factors from ``origin``, and in the weight.
    """

    pixels: int
    last_pixels: int
    origin: np.ndarray
    place: np.ndarray
    factor: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Memory:
    """Rows from image to image and columns from row to row, as pixels lie in memory."""

    rows: int
    columns: int
    channels: int

    def offsets(self, row: np.ndarray, column: np.ndarray, images: int) -> np.ndarray:
        """Of the first channels of pixels of the first image, and of the same in the others."""
        first = (row * self.columns + column) * self.channels
        step = self.rows * self.columns * self.channels
        return _table(np.arange(images)[:, None] * step + first)


def forward_phase(
    units: Units, source: Memory, result: Memory, kernel: Pair, stride: Pair, pooled: bool
) -> Phase:
    """The one phase of a convolution.

    Parameters
    ----------
    source, result : Memory
    pooled : bool
        Pixels in the order of 2 x 2 windows; those that no window holds are left out.
    """
    whole = 2 if pooled else 1
    height, width = units.rows // whole * whole, result.columns // whole * whole
    row, column = np.divmod(np.arange(height * width), max(1, width))
    if pooled:
        windows = np.arange(height * width).reshape(height // 2, 2, width // 2, 2)
        order = windows.transpose(0, 2, 1, 3).ravel()
        row, column = row[order], column[order]
    i, j, c = np.indices((*kernel, source.channels))
    return Phase(
        height * width,
        units.last_rows // whole * whole * width,
        source.offsets(row * stride[0], column * stride[1], units.images),
        result.offsets(row, column, units.images),
        _table((i * source.columns + j) * source.channels + c),
        _table(((i * kernel[1] + j) * source.channels + c) * result.channels),
    )


def adjoint_phases(
    units: Units, source: Memory, start: Pair, result: Memory, kernel: Pair, stride: Pair,
    padding: Pair,
) -> list[Phase]:  # fmt: skip
    """The phases of the adjoint: pixels that meet the same taps, ``stride`` x ``stride`` of them.

    Row ``r`` of the images has met tap ``i`` in row ``(r + padding - i) / stride`` of the
    convolution's result, where that is whole.

    Parameters
    ----------
    source, result : Memory
        The gradient of the convolution's result, and that of its images.
    start : pair of int
        Row and column of the gradient where blocks begin.
    """
    phases = []
    for a in range(stride[0]):
        for b in range(stride[1]):
            row = np.arange((a - padding[0]) % stride[0], units.rows, stride[0])
            column = np.arange((b - padding[1]) % stride[1], result.columns, stride[1])
            rows, columns = np.repeat(row, len(column)), np.tile(column, len(row))
            i, j, k = np.meshgrid(
                np.arange(a, kernel[0], stride[0]),
                np.arange(b, kernel[1], stride[1]),
                np.arange(source.channels),
                indexing="ij",
            )
            top = (rows + padding[0]) // stride[0] - start[0]
            left = (columns + padding[1]) // stride[1] - start[1]
            back = i // stride[0] * source.columns + j // stride[1]
            phases.append(Phase(
                len(rows),
                int((row < units.last_rows).sum()) * len(column),
                source.offsets(top, left, units.images),
                result.offsets(rows, columns, units.images),
                _table(k - back * source.channels),
                _table((i * kernel[1] + j) * result.channels * source.channels + k),
            ))  # fmt: skip
    return [phase for phase in phases if phase.pixels]


def _table(offsets: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(offsets.ravel(), np.int32)
