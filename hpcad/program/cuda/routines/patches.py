"""Patches of images as a matrix, and the adjoint: with products between, convolutions.

On images (N, H, W, C), with a weight (KH, KW, C, K) as a matrix (KH KW C, K),

    y = P(x) w,    dw = P(x)^T dy,    dx = P^T(dy w^T),

in which ``P(x)`` is (N OH OW, KH KW C): a row per pixel of y.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.writing import (
    BITS,
    COMPUTED,
    STORED,
    blocks_for,
    bodies,
    function,
    identifier,
    index_type,
    itemsize,
    require,
    vector_of,
    width_of,
)

BLOCK = 256

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """Images, and the kernel that moves over them.

    Attributes
    ----------
    images : tuple of int
        (N, H, W, C).
    kernel, stride, padding : pair of int
        Along H and W; padding is with zeros, on both sides.
    """

    images: tuple[int, int, int, int]
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    @property
    def out(self) -> tuple[int, int, int]:
        """(N, OH, OW) of what a convolution makes of the images."""
        n, h, w, _ = self.images
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding
        return n, (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1

    @property
    def rows(self) -> int:
        """Rows of the matrix: pixels of the result."""
        n, oh, ow = self.out
        return n * oh * ow

    @property
    def columns(self) -> int:
        """Columns of the matrix: elements of a patch."""
        return self.kernel[0] * self.kernel[1] * self.images[3]

    @property
    def is_matrix(self) -> bool:
        """Whether the images are their own patches, in memory."""
        return self.kernel == self.stride == (1, 1) and self.padding == (0, 0)

    def part(self, images: int) -> Geometry:
        """The same of fewer images."""
        return Geometry((images, *self.images[1:]), self.kernel, self.stride, self.padding)

    @property
    def text(self) -> str:
        """As the device has it."""
        numbers = (*self.images[1:], *self.out[1:], *self.kernel, *self.stride, *self.padding)
        return f"hp_patches{{{', '.join(map(str, numbers))}}}"


@functools.cache
def take_patches(dtype: str, geometry: Geometry) -> DeviceRoutine:
    """The routine that writes the patches.

    Operands: images (N, H, W, C), matrix (N OH OW, KH KW C).

    Parameters
    ----------
    dtype : str
        Any type of 1, 2, 4 or 8 bytes.
    geometry : Geometry

    Raises
    ------
    DeviceError
        There is no routine for these.
    """
    require(itemsize(dtype) in BITS, f"take_patches: images of {dtype} have no routine")
    _check("take_patches", geometry)
    name = identifier("take_patches", dtype, geometry)
    n, h, w, c = geometry.images
    operands = _operands(dtype, geometry, forwards=True)
    variants, size = [], itemsize(dtype)
    for lanes in dict.fromkeys((width_of(dtype, c), 1)):
        work = geometry.rows * geometry.columns // lanes
        launch = Launch(f"{name}_v{lanes}", (blocks_for(work, BLOCK), 1), BLOCK)
        kind = index_type(n * h * w * c, geometry.rows * geometry.columns)
        call = (
            f"hp_take_patches<{vector_of(lanes * size)}, {kind}>"
            f"(p0, p1, {geometry.text}, {n}, {c // lanes});"
        )
        source = bodies("patches.cu") + function(launch, operands, (), False, call)
        variants.append(Variant((lanes * size,) * 2, (launch,) if work else (), source))

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        shape = (*geometry.out, *geometry.kernel, c)
        arrays[1].reshape(shape)[...] = _windows(_padded(arrays[0], geometry), geometry)

    return DeviceRoutine(name, tuple(variants), 0, (), operands, reference)


@functools.cache
def add_patches(dtype: str, geometry: Geometry) -> DeviceRoutine:
    """The adjoint of :func:`take_patches`: every pixel is the sum of its places in the patches.

    Operands: matrix (N OH OW, KH KW C), images (N, H, W, C). Deterministic: sums run over the
    elements of the kernel, row-major; of short types they are float32.

    Parameters
    ----------
    dtype : str
        A floating type.
    geometry : Geometry

    Raises
    ------
    DeviceError
        There is no routine for these.
    """
    require(dtype in COMPUTED, f"add_patches: sums of {dtype} have no routine")
    _check("add_patches", geometry)
    name = identifier("add_patches", dtype, geometry)
    n, h, w, c = geometry.images
    operands = _operands(dtype, geometry, forwards=False)
    variants, size = [], itemsize(dtype)
    for lanes in dict.fromkeys((width_of(dtype, c), 1)):
        work = n * h * w * c // lanes
        launch = Launch(f"{name}_v{lanes}", (blocks_for(work, BLOCK), 1), BLOCK)
        kind = index_type(n * h * w * c, geometry.rows * geometry.columns)
        call = f"hp_add_patches<{lanes}, {STORED[dtype]}, {kind}>(p0, p1, {geometry.text}, {n});"
        source = bodies("patches.cu") + function(launch, operands, (), False, call)
        variants.append(Variant((lanes * size,) * 2, (launch,) if work else (), source))

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        columns = arrays[0].reshape(*geometry.out, *geometry.kernel, c)
        padded = np.zeros_like(_padded(arrays[1], geometry), COMPUTED[dtype])
        windows = _windows(padded, geometry)
        for i in range(geometry.kernel[0]):
            for j in range(geometry.kernel[1]):
                windows[:, :, :, i, j] += columns[:, :, :, i, j].astype(padded.dtype)
        ph, pw = geometry.padding
        arrays[1].reshape(n, h, w, c)[...] = padded[:, ph : ph + h, pw : pw + w].astype(
            arrays[1].dtype
        )

    flops = geometry.rows * geometry.columns
    return DeviceRoutine(name, tuple(variants), 0, (), operands, reference, flops)


def _check(what: str, geometry: Geometry) -> None:
    fits = min(geometry.out[1:]) >= 1 and min(geometry.stride) >= 1
    require(
        fits,
        f"{what}: images of {geometry.images[1]} x {geometry.images[2]} with padding "
        f"{geometry.padding} are smaller than the kernel of {geometry.kernel}",
    )


def _operands(dtype: str, geometry: Geometry, forwards: bool) -> tuple[Flat, Flat]:
    n, h, w, c = geometry.images
    counts = [n * h * w * c, geometry.rows * geometry.columns]
    first, second = counts if forwards else counts[::-1]
    return Flat(dtype, first, "read"), Flat(dtype, second, "write")


def _padded(images: np.ndarray, geometry: Geometry) -> np.ndarray:
    (n, h, w, c), (ph, pw) = geometry.images, geometry.padding
    out = np.zeros((n, h + 2 * ph, w + 2 * pw, c), images.dtype)
    out[:, ph : ph + h, pw : pw + w] = images.reshape(n, h, w, c)
    return out


def _windows(padded: np.ndarray, geometry: Geometry) -> np.ndarray:
    """View of shape (N, OH, OW, KH, KW, C)."""
    s, (sh, sw) = padded.strides, geometry.stride
    return np.lib.stride_tricks.as_strided(
        padded,
        (*geometry.out, *geometry.kernel, geometry.images[3]),
        (s[0], s[1] * sh, s[2] * sw, s[1], s[2], s[3]),
    )
