"""Kernels and routines on a device: compiled, loaded, and bound to addresses.

Written against CuPy 14 and not yet run on a GPU: tests hold it to NumPy with an emulation of the
text (``tests/program/cuda``), on the strict device (:mod:`hpcad.backend.strict`), and, where there
is one, on a GPU (``tests/gpu``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.program.cuda.compile import compile_cubin, require_nvrtc
from hpcad.program.cuda.generate import generate, translation_unit
from hpcad.program.cuda.parts import CudaKernel
from hpcad.program.cuda.routines.routine import DeviceRoutine
from hpcad.program.cuda.stand_in import stand_in
from hpcad.program.kernels.ir import Kernel

Unit = CudaKernel | DeviceRoutine
STRICT_COMPILE = "HPCAD_STRICT_COMPILE"  # sm_90: the strict device compiles, too, and runs nothing


@dataclass(frozen=True)
class Loaded:
    """A kernel or routine on the device.

    Attributes
    ----------
    unit : CudaKernel or DeviceRoutine
    functions : dict
        Entry -> what launches it: ``function(grid, block, arguments)``.
    scratch : array or None
        Device memory that all units loaded together share: they run one after the other.
    """

    unit: Unit
    functions: dict[str, Any]
    scratch: Any

    def bind(self, pointers: Sequence[int], scalars: Any = None) -> Callable[[], None]:
        """A call with everything in place; it only enqueues work on CuPy's current stream.

        Parameters
        ----------
        pointers : sequence of int
            Device address of the first element of each operand; the arrays must outlive the call.
        scalars : sequence of float, optional
            Read anew by every call; a captured graph keeps those of its capture.
        """
        variant = next(
            variant
            for variant in self.unit.variants
            if all(p % a == 0 for p, a in zip(pointers, variant.alignment, strict=True))
        )
        memory = (self.scratch.data.ptr,) if self.unit.scratch else ()
        launches = [
            (self.functions[launch.entry], launch.grid, (launch.block,))
            for launch in variant.launches
        ]
        types = [np.dtype(dtype).type for dtype in self.unit.scalars]
        addresses = tuple(int(pointer) for pointer in pointers)

        def call() -> None:
            numbers = (kind(scalars[i]) for i, kind in enumerate(types))
            arguments = (*addresses, *numbers, *memory)
            for function, grid, block in launches:
                function(grid, block, arguments)

        return call


def load_kernels(kernels: Sequence[Kernel], xp: Any) -> Sequence[Any]:
    """Compile kernels as one source, which the cache on disk remembers, for the current device.

    Parameters
    ----------
    kernels : sequence of Kernel
    xp : module
        CuPy, or the strict device.

    Returns
    -------
    sequence
        Of things with ``bind(pointers, scalars)``, one for each kernel.

    Raises
    ------
    DeviceError
        There is no NVRTC that fits the driver.
    """
    return load([generate(kernel, f"kernel_{i}") for i, kernel in enumerate(kernels)], xp)


def load(units: Sequence[Unit], xp: Any) -> Sequence[Any]:
    """Compile kernels and routines as one source, and load them.

    Raises
    ------
    DeviceError
        As :func:`load_kernels`.
    """
    if hasattr(xp, "enqueue"):
        architecture = os.environ.get(STRICT_COMPILE)
        if architecture and units:
            compile_cubin(translation_unit(units), architecture, "kernels")
        return [stand_in(unit, xp) for unit in units]
    nvrtc = require_nvrtc(newest=xp.cuda.runtime.driverGetVersion() // 1000)
    architecture = f"sm_{xp.cuda.Device().compute_capability}"
    module = xp.cuda.function.Module()
    module.load(compile_cubin(translation_unit(units), architecture, "kernels", nvrtc))
    bytes_needed = max((unit.scratch for unit in units), default=0)
    scratch = xp.empty(bytes_needed, np.uint8) if bytes_needed else None
    return [
        Loaded(unit, {name: module.get_function(name) for name in unit.entries}, scratch)
        for unit in units
    ]
