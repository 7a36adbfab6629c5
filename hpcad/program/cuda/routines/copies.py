"""Copies between layouts: transpositions, windows, parts of a concatenation; and conversions."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
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
    truth,
)
from hpcad.program.cuda.text import coordinates, offset
from hpcad.program.kernels.writer import Writer

BLOCK = 256
TILE = 32
MOST_TILES = 16384  # at a time
MOST_AXES = 6

Strides = tuple[int, ...]


@dataclass(frozen=True)
class _Axes:
    """The axes that are left when neighbours are merged; the last is the target's fastest."""

    extents: tuple[int, ...]
    source: Strides
    target: Strides


@functools.cache
def copy(
    shape: tuple[int, ...],
    source_dtype: str,
    source_strides: Strides,
    target_dtype: str,
    target_strides: Strides,
    accumulate: bool = False,
) -> DeviceRoutine:
    """The routine that copies an array into another layout, and perhaps to another type.

    Operands: source, target. They are spans: from the lowest element to the highest, and where
    strides are negative, :attr:`Flat.start` says which is the first of the array. Elements of the
    target between those of the array stay as they are.

    Parameters
    ----------
    shape : tuple of int
    source_dtype, target_dtype : str
        Equal types of 1, 2, 4 or 8 bytes, or two floating types.
    source_strides, target_strides : tuple of int
        In elements. A stride of the source may be 0, one of the target only along an axis of
        length 1.
    accumulate : bool
        Add to what stands in the target, of floating types; what is added is first rounded to the
        target's type.

    Raises
    ------
    DeviceError
        There is no routine for these types, or more than six axes are left when those are merged
        that lie one behind the other in both arrays.
    """
    _check_types(source_dtype, target_dtype)
    clash = 0 not in shape and any(
        n > 1 and s == 0 for n, s in zip(shape, target_strides, strict=True)
    )
    require(not clash, f"copy: the target of strides {target_strides} holds elements twice")
    axes = _merged(shape, source_strides, target_strides)
    require(
        len(axes.extents) <= MOST_AXES,
        f"copy: {len(axes.extents)} axes of {shape} cannot be merged; at most {MOST_AXES} are "
        "copied by one routine, so copy parts along the first axis",
    )
    operands = (
        _span(source_dtype, shape, source_strides, "read"),
        _span(target_dtype, shape, target_strides, "update"),
    )
    require(
        not accumulate or target_dtype in COMPUTED,
        f"copy: sums of {target_dtype} have no routine",
    )
    facts = (shape, source_dtype, source_strides, target_dtype, target_strides, accumulate)
    write = _Writer(identifier("copy", *facts), axes, operands, accumulate)

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        views = [
            _view(flat, operand, shape, strides)
            for flat, operand, strides in zip(
                arrays, operands, (source_strides, target_strides), strict=True
            )
        ]
        moved = views[0].astype(views[1].dtype)
        views[1][...] = views[1] + moved if accumulate else moved

    return DeviceRoutine(write.name, write.variants(), 0, (), operands, reference)


def _check_types(source: str, target: str) -> None:
    same = source == target and itemsize(source) in BITS
    floating = source in COMPUTED and target in COMPUTED
    require(same or floating, f"copy: elements of {source} cannot become {target} by a routine")


def _merged(shape: Sequence[int], source: Strides, target: Strides) -> _Axes:
    """Axes in the order of the target's memory, without those of length 1."""
    kept = [axis for axis in zip(shape, source, target, strict=True) if axis[0] != 1]
    kept.sort(key=lambda axis: (-abs(axis[2]), -abs(axis[1])))
    merged: list[tuple[int, int, int]] = []
    for n, s, t in kept:
        if merged and merged[-1][1] == s * n and merged[-1][2] == t * n:
            merged[-1] = (merged[-1][0] * n, s, t)
        else:
            merged.append((n, s, t))
    columns = list(zip(*(merged or [(1, 1, 1)]), strict=True))
    return _Axes(columns[0], columns[1], columns[2])


def _span(dtype: str, shape: Sequence[int], strides: Strides, role: str) -> Flat:
    if 0 in shape:
        return Flat(dtype, 0, role)
    steps = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    start = -sum(s for s in steps if s < 0)
    return Flat(dtype, start + sum(s for s in steps if s > 0) + 1, role, start)


def _view(flat: np.ndarray, operand: Flat, shape: tuple[int, ...], strides: Strides) -> np.ndarray:
    if not operand.count:
        return np.empty(shape, flat.dtype)
    steps = [s * flat.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(flat[operand.start :], shape, steps)


class _Writer:
    """Chooses a scheme: vectors, tiles that are turned, or one element after the other."""

    def __init__(
        self, name: str, axes: _Axes, operands: tuple[Flat, Flat], accumulate: bool
    ) -> None:
        self.name, self.axes, self.operands = name, axes, operands
        self.adds = truth(accumulate)
        source, target = (operand.dtype for operand in operands)
        bits = BITS.get(itemsize(source), "")
        moved = source == target and not accumulate
        self.types = (bits, bits) if moved else (STORED[source], STORED[target])
        self.kind = index_type(*(operand.count for operand in operands), math.prod(axes.extents))

    def variants(self) -> tuple[Variant, ...]:
        turned = self._turned_axis()
        if math.prod(self.axes.extents) == 0:
            return (Variant(self._alignment(1), (), ""),)
        if turned is not None:
            return (self._tiles(turned),)
        return tuple(self._flat(lanes) for lanes in dict.fromkeys((self._width(), 1)))

    def _alignment(self, lanes: int) -> tuple[int, ...]:
        return tuple(itemsize(operand.dtype) * lanes for operand in self.operands)

    def _width(self) -> int:
        """Neighbouring elements that stay neighbours, of at most 16 bytes on both sides."""
        axes = self.axes
        if (axes.source[-1], axes.target[-1]) != (1, 1):
            return 1
        width = 16 // max(itemsize(operand.dtype) for operand in self.operands)
        fixed = [axes.extents[-1], *axes.source[:-1], *axes.target[:-1]]
        while any(number % width for number in fixed):
            width //= 2
        return width

    def _turned_axis(self) -> int | None:
        """The axis along which neighbours lie in the source, if it is another than the target's."""
        axes = self.axes
        last = len(axes.extents) - 1
        found = [a for a in range(last) if axes.source[a] == 1 and axes.extents[a] >= TILE // 2]
        if not found or axes.target[last] != 1 or axes.extents[last] < TILE // 2:
            return None
        return found[0]

    def _places(self, names: Sequence[str], skipped: int | None = None) -> list[str]:
        """Where the source and the target begin, after the coordinates of some axes."""
        kept = [a for a in range(len(self.axes.extents)) if a != skipped][: len(names)]
        return [
            f"p{number} + {operand.start} + {offset([strides[a] for a in kept], names)}"
            for number, (operand, strides) in enumerate(
                zip(self.operands, (self.axes.source, self.axes.target), strict=True)
            )
        ]

    def _flat(self, lanes: int) -> Variant:
        axes, text = self.axes, Writer()
        work = math.prod(axes.extents) // lanes
        names = [f"i{axis}" for axis in range(len(axes.extents))]
        loop = f"for ({self.kind} g = hp_first<{self.kind}>(); g < {work}; "
        with text.block(f"{loop}g += hp_stride<{self.kind}>())"):
            extents = [*axes.extents[:-1], axes.extents[-1] // lanes]
            coordinates(text, self.kind, "g", [*names[:-1], "group"], extents)
            text.add(f"const {self.kind} {names[-1]} = group * {lanes};")
            source, target = self._places(names)
            text.add(f"hp_copy<{lanes}, {self.adds}>({self._typed(source, target)});")
        return self._variant(f"{self.name}_v{lanes}", lanes, blocks_for(work, BLOCK), text)

    def _tiles(self, turned: int) -> Variant:
        axes, text, last = self.axes, Writer(), len(self.axes.extents) - 1
        outer = [axis for axis in range(last) if axis != turned]
        names = [f"i{axis}" for axis in outer]
        counts = [-(-axes.extents[axis] // TILE) for axis in (turned, last)]
        tiles = math.prod([*(axes.extents[axis] for axis in outer), *counts])
        loop = f"for ({self.kind} g = blockIdx.x; g < {tiles}; g += gridDim.x)"
        with text.block(loop):
            extents = [*(axes.extents[axis] for axis in outer), *counts]
            coordinates(text, self.kind, "g", [*names, "a", "b"], extents)
            source, target = self._places(names, skipped=turned)
            sizes = (axes.extents[turned], axes.extents[last])
            steps = (axes.source[last], axes.target[turned])
            numbers = ", ".join(map(str, (*sizes, *steps)))
            text.add(
                f"hp_turn_tile<{self.adds}, {', '.join(self.types)}, {self.kind}>"
                f"({self._typed(source, target)}, a * {TILE}, b * {TILE}, {numbers});"
            )
        return self._variant(f"{self.name}_t", 1, min(tiles, MOST_TILES), text)

    def _typed(self, source: str, target: str) -> str:
        """Pointers to elements, as bits where they are not converted."""
        first, second = self.types
        bases = f"(const {first} *)({source})", f"({second} *)({target})"
        return ", ".join(bases)

    def _variant(self, entry: str, lanes: int, blocks: int, text: Writer) -> Variant:
        launch = Launch(entry, (blocks, 1), BLOCK)
        source = bodies("copies.cu") + function(launch, self.operands, (), False, text.text())
        return Variant(self._alignment(lanes), (launch,), source)
