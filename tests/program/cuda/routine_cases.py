"""Runs routines of CUDA C++ in the emulation and with NumPy, on the same numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpcad.program.cuda.generate import prelude
from hpcad.program.cuda.routines.routine import DeviceRoutine

from .emulation import GUARD, aligned, build, launch

# Of short types two units of rounding: what is summed is rounded, and so is the sum.
RTOL = {"float64": 1e-11, "float32": 2e-6, "float16": 1e-3, "bfloat16": 8e-3}
Draw = Callable[[np.random.Generator, int, str, int], np.ndarray]


def normal(rng: np.random.Generator, _number: int, dtype: str, count: int) -> np.ndarray:
    """Ordinary numbers."""
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, 7, count)
    return rng.standard_normal(count)


@dataclass
class Case:
    """A routine, and the numbers that it is run on.

    Attributes
    ----------
    routine : DeviceRoutine
    draw : callable
        ``draw(rng, number, dtype, count)``: numbers of an operand.
    scalars : list
    exact : bool
        Whether all bits are those of NumPy.
    """

    routine: DeviceRoutine
    draw: Draw = normal
    scalars: list[Any] = field(default_factory=list)
    exact: bool = False
    rtol: float = 0.0

    def arrays(self) -> list[np.ndarray]:
        """One per operand, with guards around; what is only written begins as all ones."""
        rng = np.random.default_rng(len(self.routine.name) + len(self.routine.operands))
        made = []
        for number, operand in enumerate(self.routine.operands):
            flat = aligned(operand.count + 2 * GUARD, operand.dtype)
            flat[...] = self.draw(rng, number, operand.dtype, len(flat))
            if operand.role == "write":
                flat[GUARD:-GUARD].view(np.uint8)[...] = 0xFF
            made.append(flat)
        return made

    def expected(self, arrays: Sequence[np.ndarray]) -> None:
        """Compute with NumPy."""
        self.routine.reference([flat[GUARD:-GUARD] for flat in arrays], self.scalars)

    def emulate(self, library: ctypes.CDLL, number: int, arrays: Sequence[np.ndarray], seed: int):
        """Compute with the launches of a variant."""
        variant = self.routine.variants[number]
        garbage = np.full(self.routine.scratch + 512, 0xFF, np.uint8)
        place = garbage.ctypes.data + -garbage.ctypes.data % 256
        values: list[Any] = []
        for flat, alignment in zip(arrays, variant.alignment, strict=True):
            address = flat.ctypes.data + GUARD * flat.itemsize
            assert address % alignment == 0
            values.append(ctypes.c_void_p(address))
        values += [
            np.ctypeslib.as_ctypes_type(np.dtype(dtype))(value)
            for dtype, value in zip(self.routine.scalars, self.scalars, strict=True)
        ]
        values.append(ctypes.c_void_p(place))
        for one in variant.launches:
            launch(library, one.entry, one.grid, one.block, values, seed)
        end = place - garbage.ctypes.data + self.routine.scratch
        assert (garbage[end:] == 0xFF).all(), "the routine writes behind its scratch memory"


def emulator_of(cases: Sequence[Case], folder: Any) -> ctypes.CDLL:
    """A library with all their functions."""
    routines = {case.routine.name: case.routine for case in cases}.values()
    source = "\n".join([prelude(), *(routine.source for routine in routines)])
    return build(source, [entry for routine in routines for entry in routine.entries], folder)


def check(case: Case, library: ctypes.CDLL, orders: Sequence[int] = (0, 1)) -> None:
    """Every variant computes what NumPy does, whatever the order of threads; guards stay."""
    start = case.arrays()
    expected = [flat.copy() for flat in start]
    case.expected(expected)
    for number in range(len(case.routine.variants)):
        runs = []
        for order in orders:
            found = [_moved(flat) for flat in start]
            case.emulate(library, number, found, order)
            for one, other in zip(found, expected, strict=True):
                same(one, other, case)
            runs.append(found)
        for one, other in zip(runs[0], runs[-1], strict=True):
            assert one.tobytes() == other.tobytes()


def check_on_device(case: Case, xp: Any, bind: Callable[..., Any], shift: int = 0) -> None:
    """The same on a device, with operands that lie ``shift`` elements behind an aligned place.

    Parameters
    ----------
    case : Case
    xp : module
        CuPy, or the strict device.
    bind : callable
        Of the routine that is loaded: ``bind(pointers, scalars)``.
    shift : int
    """
    expected = case.arrays()
    places, device = [], []
    for flat in expected:
        start = shift * flat.itemsize
        memory = np.zeros(start + flat.nbytes, np.uint8)
        memory[start:] = flat.view(np.uint8)
        device.append(xp.asarray(memory))
        places.append(device[-1].data.ptr + start + GUARD * flat.itemsize)
    bind(places, case.scalars)()
    case.expected(expected)
    for memory, flat in zip(device, expected, strict=True):
        same(xp.asnumpy(memory)[shift * flat.itemsize :].view(flat.dtype), flat, case)


def _moved(flat: np.ndarray) -> np.ndarray:
    copy = aligned(len(flat), flat.dtype)
    copy[...] = flat
    return copy


def same(found: np.ndarray, expected: np.ndarray, case: Case) -> None:
    if found.dtype.kind in "iub":
        np.testing.assert_array_equal(found, expected)
        return
    one, other = found.astype(np.float64), expected.astype(np.float64)
    if case.exact:
        np.testing.assert_array_equal(one, other)
        return
    rtol = case.rtol or RTOL[found.dtype.name]
    scale = np.abs(other[np.isfinite(other)]).max(initial=0)
    np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale, equal_nan=True)
