"""From groups and places to kernels in the language of :mod:`hpcad.program.kernels.ir`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.program.fusion.groups import Group, Key, Target, Way
from hpcad.program.instruction import Instruction, Value
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store
from hpcad.program.views import looked_at


@dataclass
class Lowered:
    """A kernel, and the arrays that its operands are.

    Attributes
    ----------
    kernel : Kernel
    arrays : list of array
        Of the shape of the loop nest, broadcast with strides of 0.
    values : list of Value
        What each operand holds.
    """

    kernel: Kernel
    arrays: list[np.ndarray]
    values: list[Value]


class _Lowering:
    def __init__(self, group: Group, arrays: Any, accumulated: dict[Value, float]) -> None:
        self.group, self.arrays_of, self.accumulated = group, arrays, accumulated
        self.operands: dict[Any, int] = {}
        self.arrays: list[np.ndarray] = []
        self.values: list[Value] = []
        self.nodes: dict[Node, int] = {}
        self.number: dict[Key, int] = {}

    def run(self) -> Lowered:
        for key, spec in self.group.nodes.items():
            args = tuple(self.number[arg] for arg in spec.args)
            detail = self._load(*key) if spec.op == "load" else spec.detail
            node = Node(spec.op, args, spec.dtype, detail)
            self.number[key] = self.nodes.setdefault(node, len(self.nodes))
        stores = tuple(self._store(target) for target in self.group.targets)
        operands = tuple(
            Operand(str(a.dtype), tuple(s // a.itemsize for s in a.strides)) for a in self.arrays
        )
        kernel = Kernel(self.group.extents, operands, (), tuple(self.nodes), stores)
        return Lowered(kernel, self.arrays, self.values)

    def _load(self, value: Value, way: Way) -> int:
        array = through(self.arrays_of(value), way)
        return self._operand(np.broadcast_to(array, self.group.extents), value)

    def _store(self, target: Target) -> Store:
        array, extents = self.arrays_of(target.value), self.group.extents
        accumulate = bool(self.accumulated.get(target.value, 0.0))
        if target.axes is not None:
            if not array.shape and extents == (1,):
                array = array.reshape(1)
            kept = [i for i in range(len(extents)) if i not in target.axes]
            spread = np.expand_dims(array, tuple(target.axes)) if array.ndim == len(kept) else array
            array, reduce = np.broadcast_to(spread, extents), "sum"
        else:
            array, reduce = through(array, target.way), None
            if array.shape != extents:
                row = (array.shape == extents[:-1] and len(extents) > 1) or not array.shape
                array = np.broadcast_to(array[..., None] if row else array, extents)
        operand = self._operand(array, target.value)
        return Store(self.number[target.key], operand, reduce, accumulate)

    def _operand(self, array: np.ndarray, value: Value) -> int:
        strides = tuple(0 if n == 1 else s for n, s in zip(array.shape, array.strides, strict=True))
        address = array.__array_interface__["data"][0]
        key = (address, strides, array.dtype)
        if key not in self.operands:
            self.operands[key] = len(self.arrays)
            plain = np.lib.stride_tricks.as_strided(array, array.shape, strides)
            self.arrays.append(plain)
            self.values.append(value)
        return self.operands[key]


def lower(group: Group, arrays: Any, accumulated: dict[Value, float]) -> Lowered:
    """Make a kernel of a group.

    Parameters
    ----------
    arrays : callable
        The array of a value, with its place in memory.
    accumulated : dict of Value to float
        The values that are added to what is in their place.
    """
    return _Lowering(group, arrays, accumulated).run()


def through(array: np.ndarray, way: Way) -> np.ndarray:
    """An array as the loop looks at it."""
    for step in way:
        if isinstance(step, Instruction):
            array = looked_at(array, step)
        else:
            array = np.broadcast_to(array, step)
    return array
