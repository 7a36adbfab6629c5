"""Max pooling, the way back, and the way back of that."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.writing import (
    COMPUTED,
    STORED,
    blocks_for,
    bodies,
    function,
    identifier,
    index_type,
    itemsize,
    require,
    truth,
    width_of,
)

BLOCK = 256
LARGEST = 11  # size * size parts must be numbered by one signed byte

Shape = tuple[int, int, int, int]


@functools.cache
def max_pool(dtype: str, shape: Shape, size: int, relu: bool = False) -> DeviceRoutine:
    """The maximum of each window, and which of its parts that was (the first at ties).

    Operands: image (N, H, W, C); pooled and winner (int8), (N, H // size, W // size, C).

    Parameters
    ----------
    dtype : str
        A floating type.
    shape : tuple of int
        Of the images: (N, H, W, C).
    size : int
        Windows are ``size`` x ``size``; rows and columns left over belong to none.
    relu : bool
        Store ``max(0, maximum)``.

    Raises
    ------
    DeviceError
        There is no routine for this type or size.
    """
    _check("max_pool", dtype, shape, size)
    large, small = _sizes(shape, size)
    operands = (
        Flat(dtype, large, "read"),
        Flat(dtype, small, "write"),
        Flat("int8", small, "write"),
    )

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        windows = _windows(arrays[0], shape, size)
        best, won = windows[0].copy(), np.zeros(windows[0].shape, np.int8)
        for number, part in enumerate(windows[1:], start=1):
            better = part > best
            won[better] = number
            best = np.where(better | (part != part), part, best)
        if relu:
            best = np.where(best <= 0, np.zeros_like(best), best)
        arrays[1][...], arrays[2][...] = best.ravel(), won.ravel()

    name = identifier("max_pool", dtype, shape, size, relu)
    tail = f", {truth(relu)}"
    return _routine(name, "hp_max_pool", operands, (shape, size), small, tail, reference)


@functools.cache
def unpool(dtype: str, shape: Shape, size: int) -> DeviceRoutine:
    """The cotangent of the images from that of the pooled ones: at the winners, 0 elsewhere.

    Operands: pooled and winner (int8), (N, H // size, W // size, C); image (N, H, W, C).

    Parameters
    ----------
    dtype, shape, size :
        As of :func:`max_pool`.

    Raises
    ------
    DeviceError
    """
    _check("unpool", dtype, shape, size)
    large, small = _sizes(shape, size)
    operands = (
        Flat(dtype, small, "read"),
        Flat("int8", small, "read"),
        Flat(dtype, large, "write"),
    )

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        arrays[2][...] = 0
        for number, part in enumerate(_windows(arrays[2], shape, size)):
            won = (arrays[1] == number).reshape(part.shape)
            part[...] = arrays[0].reshape(part.shape) * won.astype(part.dtype)

    name = identifier("unpool", dtype, shape, size)
    return _routine(name, "hp_unpool", operands, (shape, size), large, "", reference)


@functools.cache
def pick(dtype: str, shape: Shape, size: int) -> DeviceRoutine:
    """The elements of the images at given winners: the adjoint of :func:`unpool`.

    Operands: image (N, H, W, C); winner (int8) and picked, (N, H // size, W // size, C).

    Raises
    ------
    DeviceError
    """
    _check("pick", dtype, shape, size)
    large, small = _sizes(shape, size)
    operands = (
        Flat(dtype, large, "read"),
        Flat("int8", small, "read"),
        Flat(dtype, small, "write"),
    )

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        for number, part in enumerate(_windows(arrays[0], shape, size)):
            won = (arrays[1] == number).reshape(part.shape)
            np.copyto(arrays[2].reshape(part.shape), part, where=won)

    name = identifier("pick", dtype, shape, size)
    return _routine(name, "hp_pick", operands, (shape, size), small, "", reference)


def _check(what: str, dtype: str, shape: Shape, size: int) -> None:
    require(dtype in COMPUTED, f"{what}: images of {dtype} have no routine")
    fits = 1 <= size <= min(LARGEST, *shape[1:3])
    require(fits, f"{what}: images of {shape} have no windows of {size} x {size} up to {LARGEST}")


def _sizes(shape: Shape, size: int) -> tuple[int, int]:
    """Elements of the images and of the pooled ones."""
    n, h, w, c = shape
    return n * h * w * c, n * (h // size) * (w // size) * c


def _windows(image: np.ndarray, shape: Shape, size: int) -> list[np.ndarray]:
    """The parts of all windows: views of the images."""
    x, h, w = image.reshape(shape), shape[1] // size * size, shape[2] // size * size
    return [x[:, i:h:size, j:w:size] for i in range(size) for j in range(size)]


def _routine(
    name: str,
    called: str,
    operands: tuple[Flat, ...],
    image: tuple[Shape, int],
    work: int,
    tail: str,
    reference: Callable[[list[np.ndarray], list[Any]], None],
) -> DeviceRoutine:
    (n, h, w, c), size = image
    dtype = operands[0].dtype
    variants = []
    for lanes in dict.fromkeys((1 if called == "hp_pick" else width_of(dtype, c), 1)):
        entry = f"{name}_v{lanes}"
        launch = Launch(entry, (blocks_for(work // lanes, BLOCK), 1), BLOCK)
        kind = index_type(n * h * w * c)
        call = (
            f"{called}<{lanes}, {STORED[dtype]}, {kind}>"
            f"(p0, p1, p2, hp_image{{{h}, {w}, {c}, {size}}}, {n}{tail});"
        )
        source = bodies("pooling.cu") + function(launch, operands, (), False, call)
        alignment = tuple(itemsize(operand.dtype) * lanes for operand in operands)
        variants.append(Variant(alignment, (launch,) if work else (), source))
    return DeviceRoutine(name, tuple(variants), 0, (), operands, reference)
