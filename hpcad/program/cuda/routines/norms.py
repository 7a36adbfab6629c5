"""Norms of gradients, clipping, and the scale of losses: numbers that stay on the device."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.writing import (
    COMPUTED,
    STORED,
    bodies,
    function,
    identifier,
    index_type,
    itemsize,
    require,
    rounded,
    truth,
)

BLOCK = 256
MOST_PARTS = 1056  # eight blocks per multiprocessor of a large device


@functools.cache
def sum_of_squares(dtype: str, count: int, accumulate: bool = False) -> DeviceRoutine:
    """The sum of squares, in double precision and in an order that is always the same.

    Operands: x (count,), total (1,), float64.

    Parameters
    ----------
    dtype : str
        A floating type.
    count : int
    accumulate : bool
        Add to the total: that of several arenas.

    Raises
    ------
    DeviceError
        There is no routine for this type.
    """
    require(dtype in COMPUTED, f"sum_of_squares: numbers of {dtype} have no routine")
    name = identifier("sum_of_squares", dtype, count, accumulate)
    role = "update" if accumulate else "write"
    operands = (Flat(dtype, count, "read"), Flat("float64", 1, role))
    widest = 16 // itemsize(dtype)
    parts = max(1, min(MOST_PARTS, -(-count // (BLOCK * widest))))
    variants = []
    for lanes in (widest, 1):
        first = Launch(f"{name}_v{lanes}", (parts, 1), BLOCK)
        second = Launch(f"{name}_v{lanes}_total", (1, 1), BLOCK)
        types = f"{lanes}, {STORED[dtype]}, {index_type(count * lanes)}"
        sources = [
            bodies("norms.cu"),
            function(
                first, operands, (), True,
                f"hp_square_parts<{types}>(p0, (double *)scratch, {count});",
            ),
            function(
                second, operands, (), True,
                f"hp_square_total((const double *)scratch, p1, {parts}, {truth(accumulate)});",
            ),
        ]  # fmt: skip
        alignment = (itemsize(dtype) * lanes, 8)
        variants.append(Variant(alignment, (first, second), "".join(sources)))

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        x = arrays[0].astype(np.float64)
        arrays[1][0] = (arrays[1][0] if accumulate else 0.0) + np.sum(x * x)

    scratch = rounded(8 * parts)
    return DeviceRoutine(name, tuple(variants), scratch, (), operands, reference, flops=2 * count)


@functools.cache
def clip_factor(limit: float, scaled: bool = False, checked: bool = False) -> DeviceRoutine:
    """What gradients are to be multiplied with so that their norm is at most ``limit``.

    Operands: squares (1,), float64; with ``scaled``, the scale of the loss (1,), float32; factor
    and norm (1,), float32, the norm without the scale; with ``checked``, broken (1,), int32: 1 if
    some gradient is not finite, else 0.

    Parameters
    ----------
    limit : float
        Infinity: the norm does not matter.
    scaled, checked : bool
    """
    name = identifier("clip_factor", limit, scaled, checked)
    operands = [Flat("float64", 1, "read"), *[Flat("float32", 1, "read")] * scaled]
    operands += [Flat("float32", 1, "write")] * 2 + [Flat("int32", 1, "write")] * checked
    scale = "p1" if scaled else "(const float *)0"
    factor, norm, broken = (f"p{1 + scaled + i}" for i in range(3))
    bound = "INFINITY" if limit == float("inf") else repr(float(limit))
    call = (
        f"hp_clip_factor(p0, {scale}, {factor}, {norm}, "
        f"{broken if checked else '(int32_t *)0'}, {bound});"
    )

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        squares, *others = arrays
        off = 1.0 / float(others.pop(0)[0]) if scaled else 1.0
        length = np.sqrt(squares[0]) * off
        others[1][0] = length
        others[0][0] = (limit / length if length > limit else 1.0) * off
        if checked:
            others[2][0] = not np.isfinite(length)

    return _by_one_thread(name, operands, call, reference)


@functools.cache
def adapt_scale(
    patience: int = 2000, least: float = 1.0, largest: float = 2.0**24
) -> DeviceRoutine:
    """Halve the scale of the loss after a broken step, double it after many good ones.

    Operands: broken (1,), int32; scale (1,), float32; good (1,), int32, the good steps since.

    Parameters
    ----------
    patience : int
        Good steps after which it is doubled.
    least, largest : float
        Between them it stays.
    """
    name = identifier("adapt_scale", patience, least, largest)
    operands = [Flat("int32", 1, "read"), Flat("float32", 1, "update"), Flat("int32", 1, "update")]
    call = f"hp_adapt_scale(p0, p1, p2, {patience}, {float(least)}f, {float(largest)}f);"

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        broken, scale, good = arrays
        grows = not broken[0] and good[0] + 1 >= patience
        wanted = scale[0] * np.float32(0.5 if broken[0] else 2.0 if grows else 1.0)
        scale[0] = min(max(wanted, np.float32(least)), np.float32(largest))
        good[0] = 0 if broken[0] or grows else good[0] + 1

    return _by_one_thread(name, operands, call, reference)


def _by_one_thread(name: str, operands: list[Flat], call: str, reference: Any) -> DeviceRoutine:
    launch = Launch(name, (1, 1), 1)
    source = bodies("norms.cu") + function(launch, operands, (), False, call)
    alignment = tuple(itemsize(operand.dtype) for operand in operands)
    variant = Variant(alignment, (launch,), source)
    return DeviceRoutine(name, (variant,), 0, (), tuple(operands), reference)
