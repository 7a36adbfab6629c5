"""Runs generated CUDA C++ on the CPU: compiled as C++, threads emulated (``emulator.h``).

It checks places, sums, conversions and barriers. What it cannot check is said in ``emulator.h``.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.program.cuda.generate import translation_unit
from hpcad.program.cuda.parts import CudaKernel, Variant
from hpcad.program.kernels.interpret import as_operand, interpret
from hpcad.program.kernels.ir import Kernel

COMPILER = next((found for name in ("g++", "clang++") if (found := shutil.which(name))), None)
FLAGS = ("-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-shared", "-w")
GUARD = 64  # elements before and behind every operand, that nobody may write


def build(kernels: Sequence[CudaKernel], folder: Path) -> ctypes.CDLL:
    """One library of all kernels; ``run_<entry>`` launches a function."""
    lines = ['#include "emulator.h"', translation_unit(kernels)]
    for kernel in kernels:
        for entry in kernel.entries:
            lines.append(
                f'extern "C" int run_{entry}(unsigned x, unsigned y, unsigned block, void **values, '
                f"unsigned seed) {{ return emulator::launch({entry}, x, y, block, values, seed); }}"
            )
    source, library = folder / "emulated.cpp", folder / "emulated.so"
    source.write_text("\n".join(lines))
    command = [str(COMPILER), *FLAGS, f"-I{Path(__file__).parent}", str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[:4000])
    return ctypes.CDLL(str(library))


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
            size = below + above + 1 + 2 * GUARD
            memory = np.zeros(size + 8, operand.dtype)
            place = -memory.ctypes.data // memory.itemsize % (16 // min(memory.itemsize, 16))
            flat = memory[place : place + size]  # its first element is aligned as vectors want
            flat[...] = draw(number, operand.dtype, size)
            self.flat.append(flat)
            self.starts.append(GUARD + below)

    def copy(self) -> Memory:
        """The same numbers elsewhere."""
        same = object.__new__(Memory)
        same.kernel, same.starts = self.kernel, self.starts
        same.flat = []
        for flat in self.flat:
            memory = np.zeros(len(flat) + 8, flat.dtype)
            place = -memory.ctypes.data // flat.itemsize % (16 // min(flat.itemsize, 16))
            same.flat.append(memory[place : place + len(flat)])
            same.flat[-1][...] = flat
        return same

    def interpret(self, scalars: Sequence[float]) -> None:
        """Compute with NumPy."""
        arrays = [
            as_operand(self.kernel, i, flat, start)
            for i, (flat, start) in enumerate(zip(self.flat, self.starts, strict=True))
        ]
        interpret(self.kernel, arrays, scalars)

    def emulate(
        self, library: ctypes.CDLL, variant: Variant, scratch: int, scalars: Sequence[float], seed: int
    ) -> None:
        """Compute with the launches of a variant."""
        garbage = np.full(scratch + 256, 0xFF, np.uint8)
        values: list[Any] = [
            ctypes.c_void_p(flat.ctypes.data + start * flat.itemsize)
            for flat, start in zip(self.flat, self.starts, strict=True)
        ]
        for pointer, alignment in zip(values, variant.alignment, strict=True):
            if pointer.value % alignment:
                raise RuntimeError("an operand of this test is not aligned as the variant asks")
        values += [
            np.ctypeslib.as_ctypes_type(np.dtype(dtype))(value)
            for dtype, value in zip(self.kernel.scalars, scalars, strict=True)
        ]
        values.append(ctypes.c_void_p(garbage.ctypes.data))
        table = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        for launch in variant.launches:
            function = getattr(library, f"run_{launch.entry}")
            if function(*launch.grid, launch.block, table, seed):
                raise RuntimeError(f"{launch.entry}: threads wait for others that never come")
