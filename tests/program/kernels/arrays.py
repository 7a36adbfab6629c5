"""Memory for the operands of a kernel, and both ways to compute it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from hpcad.backend.native.compiler import find_compiler
from hpcad.program.kernels.build import Compiled
from hpcad.program.kernels.interpret import as_operand, interpret
from hpcad.program.kernels.ir import Kernel

COMPILER = find_compiler()

Memory = list[tuple[np.ndarray, int]]  # flat array, index of the first element of the operand


def memory_of(kernel: Kernel, draw: Callable[[int, str, int], np.ndarray]) -> Memory:
    """Flat arrays that hold the operands, filled by ``draw(operand, dtype, count)``."""
    found = []
    for number, operand in enumerate(kernel.operands):
        reach = [
            (extent - 1) * s for extent, s in zip(kernel.extents, operand.strides, strict=True)
        ]
        low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
        flat = draw(number, operand.dtype, high - low + 1)
        found.append((np.ascontiguousarray(flat, operand.dtype), -low))
    return found


def interpreted(kernel: Kernel, memory: Memory, scalars: Sequence[float] = ()) -> list[np.ndarray]:
    """The flat arrays after NumPy computed the kernel."""
    copies = [(flat.copy(), start) for flat, start in memory]
    interpret(kernel, [as_operand(kernel, i, *copy) for i, copy in enumerate(copies)], scalars)
    return [flat for flat, _ in copies]


def compiled(
    code: Compiled, memory: Memory, scalars: Sequence[float] = (), times: int = 1
) -> list[np.ndarray]:
    """The flat arrays after machine code computed the kernel."""
    copies = [(flat.copy(), start) for flat, start in memory]
    addresses = [flat.ctypes.data + start * flat.itemsize for flat, start in copies]
    call = code.bind(addresses, (ctypes.c_double * max(1, len(scalars)))(*scalars))
    for _ in range(times):
        call()
    return [flat for flat, _ in copies]
