"""The update as fused kernels: one pass over memory, and one for the norm of the gradient."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend import Array, backend_of
from hpcad.nn.arena import ParameterArena
from hpcad.optim.rule import Rule
from hpcad.optim.stretches import Stretch, line
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store


@dataclass(frozen=True)
class Pass:
    """One kernel and where in an arena it works.

    Attributes
    ----------
    kernel : Kernel
    start : int
        First element.
    mask : array of bool or None
        For each cache line whether it is decayed, where that differs.
    """

    kernel: Kernel
    start: int
    mask: np.ndarray | None


def is_mixed(group: list[Stretch]) -> bool:
    """Whether some parameters of a group decay and others do not."""
    return len(group) > 1


def update_pass(arena: ParameterArena, slots: int, group: list[Stretch], rule: Rule) -> Pass:
    """The update of neighbouring stretches, decayed or not, by one kernel."""
    start, stop, width = group[0].start, group[-1].stop, line(arena)
    dtype, count = str(arena.values.dtype), 2 + slots
    extents: tuple[int, ...] = (stop - start,)
    strides: tuple[int, ...] = (1,)
    masks: tuple[Operand, ...] = ()
    mask = None
    if is_mixed(group):
        # A row is one cache line: on those every parameter begins.
        lines = -(-(stop - start) // width)
        extents, strides = (lines, width), (width, 1)
        masks = (Operand("bool", (1, 0)),)
        mask = np.zeros(lines, bool)
        for part in group:
            mask[(part.start - start) // width : -(-(part.stop - start) // width)] = part.decays
    kernel = Kernel(
        extents,
        (Operand(dtype, strides),) * count + masks,
        ("float64",) * len(rule.scalars),
        rule.nodes,
        tuple(Store(node, operand) for node, operand in rule.results),
    )
    return Pass(kernel, start, mask)


def squares_kernel(size: int, dtype: str) -> Kernel:
    """The sum of squares, added up in double precision: large gradients do not overflow."""
    nodes = [Node("load", (), dtype, 0)]
    if dtype != "float64":
        nodes.append(Node("cast", (0,), "float64"))
    last = len(nodes) - 1
    nodes.append(Node("multiply", (last, last), "float64"))
    operands = (Operand(dtype, (1,)), Operand("float64", (0,)))
    return Kernel((size,), operands, (), tuple(nodes), (Store(last + 1, 1, reduce="sum"),))


class CompiledUpdate:
    """One arena's update by compiled kernels.

    Parameters
    ----------
    arena : ParameterArena
    slots : sequence of arrays
        The state, of the layout of the arena.
    passes : list of Pass
    squares : Kernel or None
        None where no norm is asked for.
    compiled : dict
        Kernel -> what has ``bind(pointers, scalars)``.
    """

    def __init__(
        self,
        arena: ParameterArena,
        slots: Sequence[Array],
        passes: list[Pass],
        squares: Kernel | None,
        compiled: dict[Kernel, Any],
    ) -> None:
        arrays = (arena.values.flat, arena.grads.flat, *slots)
        backend = backend_of(arena.values.flat)
        masks = [None if each.mask is None else backend.asarray(each.mask) for each in passes]
        self._held = (arrays, masks)  # the kernels know only addresses
        # Where everything is frozen, there is no kernel and no number to hand over.
        self._scalars = (ctypes.c_double * (len(passes[0].kernel.scalars) if passes else 0))()
        self._calls = [
            compiled[each.kernel].bind(_addresses(arrays, each.start, mask), self._scalars)
            for each, mask in zip(passes, masks, strict=True)
        ]
        self._sum = backend.zeros((1,), np.float64)
        self._square: Callable[[], Any] | None = None
        if squares is not None:
            pointers = (_address(arena.grads.flat), _address(self._sum))
            self._square = compiled[squares].bind(pointers)

    def update(self, numbers: list[float]) -> None:
        """Take one step with these run-time numbers."""
        if self._calls:
            self._scalars[:] = numbers  # type: ignore[assignment]  # a list, not of c_double
        for call in self._calls:
            call()

    def squares(self) -> float:
        """Sum of the squared gradients, in double precision."""
        if self._square is not None:
            self._square()
        return float(self._sum[0])


def _addresses(arrays: Sequence[Array], start: int, mask: Array | None) -> list[int]:
    found = [_address(array) + start * array.itemsize for array in arrays]
    return found if mask is None else [*found, _address(mask)]


def _address(array: Array) -> int:
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
