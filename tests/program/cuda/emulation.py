"""Runs generated CUDA C++ on the CPU: compiled as C++, threads emulated (``emulator.h``).

It checks places, sums, conversions and barriers. What it cannot check is said in ``emulator.h``.
"""

from __future__ import annotations

import copy
import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.backend.half import named
from hpcad.program.cuda.parts import Variant
from hpcad.program.kernels.interpret import as_operand, interpret
from hpcad.program.kernels.ir import Kernel

COMPILER = next((found for name in ("g++", "clang++") if (found := shutil.which(name))), None)
FLAGS = ("-std=c++17", "-O0", "-ffp-contract=off", "-fPIC", "-shared", "-w")
GUARD = 64  # elements before and behind every operand, that nobody may write


def build(source: str, entries: Sequence[str], folder: Path) -> ctypes.CDLL:
    """A library in which ``run_<entry>`` launches a function of the source."""
    runs = [
        f'extern "C" int run_{entry}(unsigned x, unsigned y, unsigned block, void **values, '
        f"unsigned seed) {{ return emulator::launch({entry}, x, y, block, values, seed); }}"
        for entry in entries
    ]
    text, library = folder / "emulated.cpp", folder / "emulated.so"
    text.write_text("\n".join(['#include "emulator.h"', source, *runs]))
    command = [str(COMPILER), *FLAGS, f"-I{Path(__file__).parent}", str(text), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[:4000])
    return ctypes.CDLL(str(library))


def launch(
    library: ctypes.CDLL, entry: str, grid: tuple[int, int], block: int, values: Sequence[Any],
    seed: int = 0,
) -> None:  # fmt: skip
    """Launch a function with arguments given as ctypes objects."""
    table = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    if getattr(library, f"run_{entry}")(*grid, block, table, seed):
        raise RuntimeError(f"{entry}: threads wait for others that never come")


def aligned(count: int, dtype: Any) -> np.ndarray:
    """Zeros whose first element lies as vectors of elements want it."""
    memory = np.zeros(count + 16, named(str(dtype)))
    start = -memory.ctypes.data % 16 // memory.itemsize
    return memory[start : start + count]


class Memory:
    """The operands of a kernel: random numbers between guards.

    Parameters
    ----------
    kernel : Kernel
    draw : callable
        ``draw(number, dtype, count)``: the numbers of an operand.
    """

    def __init__(self, kernel: Kernel, draw: Any) -> None:
        self.kernel = kernel
        self.flat, self.starts = [], []
        for number, operand in enumerate(kernel.operands):
            steps = [
                s * max(n - 1, 0) for s, n in zip(operand.strides, kernel.extents, strict=True)
            ]
            below, above = -sum(s for s in steps if s < 0), sum(s for s in steps if s > 0)
            flat = aligned(below + above + 1 + 2 * GUARD, operand.dtype)
            flat[...] = draw(number, operand.dtype, len(flat))
            self.flat.append(flat)
            self.starts.append(GUARD + below)

    def copy(self) -> Memory:
        """The same numbers elsewhere."""
        same = copy.copy(self)
        same.flat = [aligned(len(flat), flat.dtype) for flat in self.flat]
        for mine, its in zip(self.flat, same.flat, strict=True):
            its[...] = mine
        return same

    def addresses(self) -> list[int]:
        """Of the first element of each operand."""
        return [
            flat.ctypes.data + start * flat.itemsize
            for flat, start in zip(self.flat, self.starts, strict=True)
        ]

    def interpret(self, scalars: Sequence[float]) -> None:
        """Compute with NumPy."""
        arrays = [
            as_operand(self.kernel, i, flat, start)
            for i, (flat, start) in enumerate(zip(self.flat, self.starts, strict=True))
        ]
        interpret(self.kernel, arrays, scalars)

    def emulate(
        self,
        library: ctypes.CDLL,
        variant: Variant,
        scratch: int,
        scalars: Sequence[float],
        seed: int,
    ) -> None:
        """Compute with the launches of a variant."""
        garbage = np.full(scratch + 256, 0xFF, np.uint8)
        values: list[Any] = [ctypes.c_void_p(address) for address in self.addresses()]
        for pointer, alignment in zip(values, variant.alignment, strict=True):
            if pointer.value % alignment:
                raise RuntimeError("an operand of this test is not aligned as the variant asks")
        values += [
            np.ctypeslib.as_ctypes_type(np.dtype(dtype))(value)
            for dtype, value in zip(self.kernel.scalars, scalars, strict=True)
        ]
        values.append(ctypes.c_void_p(garbage.ctypes.data))
        for one in variant.launches:
            launch(library, one.entry, one.grid, one.block, values, seed)
