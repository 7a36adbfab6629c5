"""Kernels and routines on the strict device: NumPy computes what they stand for.

It shows that addresses, spans, order and capture are right. What the CUDA text computes is held to
NumPy by an emulation in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.program.cuda.parts import CudaKernel
from hpcad.program.cuda.routines.routine import DeviceRoutine
from hpcad.program.kernels.interpret import interpret

Span = tuple[int, int]  # address and bytes


class StandInKernel:
    """A generated kernel."""

    def __init__(self, unit: CudaKernel, xp: Any) -> None:
        self.unit, self.xp = unit, xp

    def bind(self, pointers: Sequence[int], scalars: Any = None) -> Callable[[], None]:
        """A call with everything in place; see :meth:`hpcad.program.cuda.launch.Loaded.bind`."""
        kernel, xp, name = self.unit.kernel, self.xp, self.unit.name
        spans = [_span(kernel, i, pointer) for i, pointer in enumerate(pointers)]
        stored = {store.operand for store in kernel.stores}
        loaded = {node.detail for node in kernel.nodes if node.op == "load"}
        loaded |= {store.operand for store in kernel.stores if store.accumulate}
        reads = [spans[i] for i in sorted(loaded)]
        writes = [spans[i] for i in sorted(stored)]

        def call() -> None:
            numbers = [float(scalars[i]) for i in range(len(kernel.scalars))]

            def run() -> None:
                pairs = enumerate(zip(pointers, spans, strict=True))
                interpret(kernel, [_operand(xp, kernel, i, p, s) for i, (p, s) in pairs], numbers)

            xp.enqueue(name, reads, writes, run)

        return call


class StandInRoutine:
    """A hand-written routine: its reference computes."""

    def __init__(self, unit: DeviceRoutine, xp: Any) -> None:
        self.unit, self.xp = unit, xp

    def bind(self, pointers: Sequence[int], scalars: Any = None) -> Callable[[], None]:
        """A call with everything in place; see :meth:`hpcad.program.cuda.launch.Loaded.bind`."""
        unit, xp = self.unit, self.xp
        spans = [
            (pointer, flat.count * np.dtype(flat.dtype).itemsize)
            for pointer, flat in zip(pointers, unit.operands, strict=True)
        ]
        roles = [flat.role for flat in unit.operands]
        reads = [span for span, role in zip(spans, roles, strict=True) if role != "write"]
        writes = [span for span, role in zip(spans, roles, strict=True) if role != "read"]

        def call() -> None:
            numbers = [scalars[i] for i in range(len(unit.scalars))]

            def run() -> None:
                flats = [
                    xp.host_view(*span).view(flat.dtype)
                    for span, flat in zip(spans, unit.operands, strict=True)
                ]
                unit.reference(flats, numbers)

            xp.enqueue(unit.name, reads, writes, run)

        return call


def stand_in(unit: CudaKernel | DeviceRoutine, xp: Any) -> StandInKernel | StandInRoutine:
    """What takes the place of a unit that was loaded."""
    return StandInKernel(unit, xp) if isinstance(unit, CudaKernel) else StandInRoutine(unit, xp)


def _span(kernel: Any, operand: int, pointer: int) -> Span:
    """The bytes that an operand lies in."""
    spec = kernel.operands[operand]
    size = np.dtype(spec.dtype).itemsize
    ends = [s * (n - 1) for s, n in zip(spec.strides, kernel.extents, strict=True) if n > 0]
    if 0 in kernel.extents:
        return pointer, 0
    low, high = sum(min(e, 0) for e in ends), sum(max(e, 0) for e in ends)
    return pointer + low * size, (high - low + 1) * size


def _operand(xp: Any, kernel: Any, operand: int, pointer: int, span: Span) -> np.ndarray:
    """An operand as the interpreter takes it, of the shape of the loop nest."""
    spec = kernel.operands[operand]
    dtype = np.dtype(spec.dtype)
    if 0 in kernel.extents:
        return np.empty(kernel.extents, dtype)
    flat = xp.host_view(*span)
    return np.ndarray(
        kernel.extents,
        dtype,
        buffer=flat,
        offset=pointer - span[0],
        strides=[s * dtype.itemsize for s in spec.strides],
    )
