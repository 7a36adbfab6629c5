"""Kernels and routines on a device: their operands, their calls, and whether they are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gpu_kernel_sizes import Case

from hpcad.backend.half import named
from hpcad.program.cuda.launch import load, load_kernels
from hpcad.program.kernels.interpret import as_operand, interpret
from hpcad.program.kernels.ir import Kernel

# Against the largest number of an operand: sums run in another order, short types are rounded.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5, "bfloat16": 2e-2, "float16": 4e-3}
DRAWN = 1 << 20  # numbers that are drawn; longer operands repeat them
INTEGERS = 1 << 31  # integers stay below, where nothing else is said
FEW = 64  # of more, the k-th has a share of about 1 / k: rows of an embedding are met as in text


@dataclass
class OnDevice:
    """A case in the memory of a device.

    Attributes
    ----------
    arrays : list of device arrays
        One per operand, flat.
    call : callable
        Enqueues the work on the current stream.
    """

    arrays: list[Any]
    call: Callable[[], None]


def operands_of(case: Case) -> list[tuple[str, int]]:
    """Return dtype and number of elements of each operand."""
    if not isinstance(case.unit, Kernel):
        return [(operand.dtype, operand.count) for operand in case.unit.operands]
    extents = case.unit.extents
    return [
        (o.dtype, 1 + sum((n - 1) * step for n, step in zip(extents, o.strides, strict=True)))
        for o in case.unit.operands
    ]


def on_device(case: Case, xp: Any) -> OnDevice:
    """Put a case on the device, with random numbers in its operands."""
    arrays = []
    for number, (dtype, count) in enumerate(operands_of(case)):
        drawn = _drawn(case, number, dtype, min(count, DRAWN))
        block = xp.asarray(drawn)
        flat = block
        if count > DRAWN:
            flat = xp.empty(count, drawn.dtype)
            for start in range(0, count, DRAWN):
                flat[start : start + DRAWN] = block[: min(DRAWN, count - start)]
        arrays.append(flat)
    unit = case.unit
    loaded = (load_kernels([unit], xp) if isinstance(unit, Kernel) else load([unit], xp))[0]
    return OnDevice(arrays, loaded.bind([flat.data.ptr for flat in arrays], case.scalars))


def compared(case: Case, xp: Any) -> str | None:
    """Compute a case on the device and with NumPy; say what differs, or None."""
    there = on_device(case, xp)
    expected = [array.get() for array in there.arrays]
    there.call()
    if isinstance(case.unit, Kernel):
        views = [as_operand(case.unit, i, flat) for i, flat in enumerate(expected)]
        interpret(case.unit, views, case.scalars)
    else:
        case.unit.reference(expected, case.scalars)
    for number, (array, wanted) in enumerate(zip(there.arrays, expected, strict=True)):
        error = _difference(array.get(), wanted)
        if not error <= TOLERANCE.get(wanted.dtype.name, 0.0):
            return f"operand {number} differs from NumPy's by {error:.1e} of its largest number"
    return None


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    return float(np.max(np.abs(a - b), initial=0.0) / max(1e-30, np.max(np.abs(b), initial=0.0)))


def _drawn(case: Case, number: int, dtype: str, count: int) -> np.ndarray:
    """Normal numbers; positive ones for means of squares; integers below a limit."""
    rng = np.random.default_rng(number)
    kind = named(dtype)
    if number in case.given:
        return np.array(case.given[number], kind)
    if kind.kind in "iu":
        limit = min(case.limits.get(number, INTEGERS), np.iinfo(kind).max)
        if limit < FEW:
            return rng.integers(0, limit, count).astype(kind)
        return (float(limit) ** rng.random(count)).astype(kind) - kind.type(1)
    if kind.kind == "b":
        return rng.integers(0, 2, count).astype(kind)
    drawn = rng.standard_normal(count, np.float32)
    return (np.abs(drawn) if case.name.startswith("AdamW") and number == 3 else drawn).astype(kind)
