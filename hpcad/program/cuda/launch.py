"""Fused kernels on the device, through CuPy.

Written against CuPy 14 and not yet run on a GPU: tests hold it to NumPy with a stand-in for the
device (``tests/program/cuda``), and, where there is a device, on that (``tests/gpu``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.program.cuda.compile import compile_cubin, require_nvrtc
from hpcad.program.cuda.generate import generate, translation_unit
from hpcad.program.cuda.parts import CudaKernel
from hpcad.program.kernels.ir import Kernel


@dataclass(frozen=True)
class Loaded:
    """A kernel on the device.

    Attributes
    ----------
    kernel : CudaKernel
    functions : dict
        Entry -> what launches it: ``function(grid, block, arguments)``.
    scratch : array or None
        Device memory that all kernels loaded together share: they run one after the other.
    """

    kernel: CudaKernel
    functions: dict[str, Any]
    scratch: Any

    def bind(self, pointers: Sequence[int], scalars: Any = None) -> Callable[[], None]:
        """A call with everything in place; it only enqueues work on CuPy's current stream.

        Parameters
        ----------
        pointers : sequence of int
            Device address of the first element of each operand; the arrays must outlive the call.
        scalars : sequence of float, optional
            Read anew by every call.
        """
        variant = next(
            variant
            for variant in self.kernel.variants
            if all(p % a == 0 for p, a in zip(pointers, variant.alignment, strict=True))
        )
        memory = (self.scratch.data.ptr,) if self.kernel.scratch else ()
        launches = [
            (self.functions[launch.entry], launch.grid, (launch.block,))
            for launch in variant.launches
        ]
        types = [np.dtype(dtype).type for dtype in self.kernel.kernel.scalars]
        addresses = tuple(int(pointer) for pointer in pointers)

        def call() -> None:
            numbers = (kind(scalars[i]) for i, kind in enumerate(types))
            arguments = (*addresses, *numbers, *memory)
            for function, grid, block in launches:
                function(grid, block, arguments)

        return call


def load_kernels(kernels: Sequence[Kernel]) -> list[Loaded]:
    """Compile kernels as one source, which the cache on disk remembers, for the current device.

    Raises
    ------
    DeviceError
        There is no NVRTC that fits the driver.
    """
    import cupy

    generated = [generate(kernel, f"kernel_{i}") for i, kernel in enumerate(kernels)]
    nvrtc = require_nvrtc(newest=cupy.cuda.runtime.driverGetVersion() // 1000)
    architecture = f"sm_{cupy.cuda.Device().compute_capability}"
    module = cupy.cuda.function.Module()
    module.load(compile_cubin(translation_unit(generated), architecture, "kernels", nvrtc))
    bytes_needed = max((kernel.scratch for kernel in generated), default=0)
    scratch = cupy.empty(bytes_needed, np.uint8) if bytes_needed else None
    return [
        Loaded(kernel, {name: module.get_function(name) for name in kernel.entries}, scratch)
        for kernel in generated
    ]
