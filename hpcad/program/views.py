"""Values that need no memory of their own: other ways to look at an array.

NumPy itself says what is a view: an operation is applied to a stand-in, an array of the right
shape and strides whose elements nobody reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hpcad.autodiff.primitive import Primitive
from hpcad.program.instruction import Instruction, Value

_NOWHERE = np.zeros(1, np.uint8)  # what stand-ins point to
_COPY_FLAG = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


@dataclass(frozen=True)
class Layout:
    """Where the elements of an array lie, relative to the start of its buffer.

    Attributes
    ----------
    dtype : dtype
    shape : tuple of int
    strides : tuple of int
        In bytes.
    offset : int
        In bytes.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def contiguous(cls, shape: tuple[int, ...], dtype: Any) -> Layout:
        strides, step = [], np.dtype(dtype).itemsize
        for n in reversed(shape):
            strides.append(step)
            step *= max(n, 1)
        return cls(np.dtype(dtype), tuple(shape), tuple(strides[::-1]))

    @classmethod
    def natural(cls, value: Value) -> Layout:
        """Of a value in memory of its own."""
        if value.order is None:
            return cls.contiguous(value.shape, value.dtype)
        packed = cls.contiguous(tuple(value.shape[a] for a in value.order), value.dtype)
        strides = [0] * len(value.shape)
        for axis, stride in zip(value.order, packed.strides, strict=True):
            strides[axis] = stride
        return cls(value.dtype, value.shape, tuple(strides))

    @classmethod
    def of(cls, array: np.ndarray) -> Layout:
        """Of an array, relative to its own first element."""
        return cls(array.dtype, array.shape, array.strides)

    @property
    def is_contiguous(self) -> bool:
        step = self.dtype.itemsize
        for n, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1:
                if stride != step:
                    return False
                step *= n
        return True

    def stand_in(self) -> np.ndarray:
        """An array of this shape and these strides; its elements must not be touched."""
        start = _NOWHERE.view()
        return as_strided(_typed(start, self.dtype), self.shape, self.strides)

    def array(self, buffer: np.ndarray) -> np.ndarray:
        """The array itself, in a buffer of bytes."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        start = buffer[self.offset :]
        usable = start[: start.size - start.size % self.dtype.itemsize]
        return as_strided(usable.view(self.dtype), self.shape, self.strides)

    def seen_through(self, view: Instruction) -> Layout | None:
        """The layout of what a view operation makes of it; None if it would have to copy."""
        if self not in view.seen:
            view.seen[self] = self._seen_through(view)
        return view.seen[self]

    def _seen_through(self, view: Instruction) -> Layout | None:
        array = self.stand_in()
        try:
            seen = looked_at(array, view)
        except ValueError:
            return None
        start = array.__array_interface__["data"][0]
        offset = seen.__array_interface__["data"][0] - start
        return Layout(self.dtype, seen.shape, seen.strides, self.offset + offset)

    def broadcast(self, shape: tuple[int, ...]) -> Layout:
        """Repeated along new axes and those of length 1."""
        seen = np.broadcast_to(self.stand_in(), shape)
        return Layout(self.dtype, seen.shape, seen.strides, self.offset)


def _seen(base: Value, way: tuple[Instruction, ...]) -> bool:
    layout: Layout | None = Layout.natural(base)
    for step in way:
        layout = layout.seen_through(step) if layout is not None else None
    return layout is not None


def _may_lie(value: Value, order: tuple[int, ...]) -> bool:
    """Whether the instruction that makes a value can write it in another order of axes."""
    if value.origin != "result":
        return False
    if value.source.name == "tiled_attention":
        return value is value.source.out and order[-1] == len(order) - 1
    if value.source.name not in ("matmul", "concatenate"):
        return False
    return order[-1] >= len(order) - 2  # BLAS wants rows or columns without gaps


def _typed(one: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A stand-in of another dtype at the same place, too small for even one element."""
    return np.ndarray((0,), dtype, buffer=one) if dtype.itemsize > 1 else one.view(dtype)


def is_view(instruction: Instruction) -> bool:
    """Whether an operation only looks at its argument in another way (or copies it)."""
    if not isinstance(instruction.op, Primitive):
        return False
    if instruction.name == "getitem":
        return all(_is_basic(part) for part in instruction.params["index"])
    return instruction.name in VIEWS


def _is_basic(part: Any) -> bool:
    return part is None or part is ... or type(part) is int or isinstance(part, slice)


def looked_at(array: np.ndarray, view: Instruction) -> np.ndarray:
    """An array as a view operation shows it.

    Raises
    ------
    ValueError
        It would have to be copied.
    """
    params = view.params
    if view.name == "getitem":
        found = array[params["index"]]
        return found if isinstance(found, np.ndarray) else array[(*params["index"], ...)]
    return VIEWS[view.name](array, params)


def _reshape(array: np.ndarray, params: Any) -> np.ndarray:
    if _COPY_FLAG:
        return np.reshape(array, params["shape"], copy=False)
    view = array.view()
    try:
        view.shape = params["shape"]
    except AttributeError as error:
        raise ValueError(str(error)) from error
    return view


def _flip(array: np.ndarray, params: Any) -> np.ndarray:
    index: list[Any] = [slice(None)] * array.ndim
    for axis in params["axes"]:
        index[axis] = slice(None, None, -1)
    return array[(*index, ...)]  # an array without axes, too, is looked at and not copied


VIEWS: dict[str, Any] = {
    "again": lambda a, _p: a.view(),
    "broadcast_to": lambda a, p: np.broadcast_to(a, p["shape"]),
    "flip": _flip,
    "in_range": lambda a, _p: a.view(),
    "reshape": _reshape,
    "transpose": lambda a, p: np.transpose(a, p["axes"]),
}


class Views:
    """Which values of a program are views of others.

    Attributes
    ----------
    of : dict of Value to (Value, tuple of Instruction)
        The value that a view looks at, in the end, and the operations on the way.
    copies : dict of Value to Instruction
        Reshapes of something whose order in memory does not allow it.
    """

    def __init__(self, instructions: list[Instruction]) -> None:
        self.of: dict[Value, tuple[Value, tuple[Instruction, ...]]] = {}
        self.copies: dict[Value, Instruction] = {}
        for instruction in instructions:
            if is_view(instruction):
                self._take(instruction)

    def _take(self, instruction: Instruction) -> None:
        base, way = self.origin(instruction.args[0])
        whole = (*way, instruction)
        if _seen(base, whole) or self._reorder(base, whole):
            self.of[instruction.out] = (base, whole)
        else:
            self.copies[instruction.out] = instruction

    def _reorder(self, base: Value, way: tuple[Instruction, ...]) -> bool:
        """Let a value lie in memory in the order in which it is used, if its maker can do that."""
        turns = [step for step in way if step.name == "transpose"]
        if base.order is not None or len(turns) != 1 or way[0] is not turns[0]:
            return False
        order = tuple(turns[0].params["axes"])
        if not _may_lie(base, order):
            return False
        base.order = order
        ways = [w for b, w in self.of.values() if b is base]
        if all(_seen(base, w) for w in (*ways, way)):
            return True
        base.order = None
        return False

    def origin(self, value: Value) -> tuple[Value, tuple[Instruction, ...]]:
        """What a value looks at, and how; itself if it is no view."""
        return self.of.get(value, (value, ()))
