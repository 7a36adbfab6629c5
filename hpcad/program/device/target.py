"""The device as the target of a program.

Written against CuPy 14, and held to NumPy on the strict device; not yet run on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend.device_backend import DeviceBackend
from hpcad.program.cuda.generate import generate, translation_unit
from hpcad.program.cuda.launch import load_kernels
from hpcad.program.device.faults import Faults
from hpcad.program.device.segments import Segments
from hpcad.program.device.staging import Staging
from hpcad.program.device.steps import DeviceStepMaker
from hpcad.program.emission.names import Names
from hpcad.program.emission.steps import Arrays, Step, StepMaker
from hpcad.program.kernels.ir import Kernel
from hpcad.program.phantom import address_of, phantom_of


class DeviceTarget:
    """A GPU, or the strict device.

    Parameters
    ----------
    backend : DeviceBackend
        Of the arrays.
    """

    suffix = "cu"

    def __init__(self, backend: DeviceBackend) -> None:
        self.backend, self.xp = backend, backend.xp
        self._held: list[Any] = []  # phantoms keep nothing alive
        self._constants: dict[int, np.ndarray] = {}
        self._staged: dict[int, Staging] = {}
        self.faults = Faults(self.xp)

    # -- memory -------------------------------------------------------------------------------

    def allocate(self, nbytes: int) -> np.ndarray:
        memory = self.xp.empty(max(256, nbytes), np.uint8)
        self._held.append(memory)
        return phantom_of(memory)

    def seen(self, array: Any) -> np.ndarray:
        self._held.append(array)
        return phantom_of(array)

    def holds(self, array: Any) -> bool:
        return not isinstance(array, np.ndarray | np.generic) and array.flags.c_contiguous

    def constant(self, array: Any) -> np.ndarray:
        known = self._constants.get(id(array))
        if known is None:
            copied = self.xp.ascontiguousarray(self.backend.asarray(array))
            self._held += [array, copied]
            known = self._constants[id(array)] = phantom_of(copied)
        return known

    def gradient(self, parameter: Parameter) -> np.ndarray | None:
        return None if parameter.gradient is None else phantom_of(parameter.gradient)

    def real(self, phantom: np.ndarray) -> Any:
        """Return the device array that a phantom stands for."""
        if phantom.size == 0:
            return self.xp.empty(phantom.shape, phantom.dtype)
        steps = zip(phantom.shape, phantom.strides, strict=True)
        span = phantom.itemsize + sum((n - 1) * max(stride, 0) for n, stride in steps)
        cuda = self.xp.cuda
        memory = cuda.UnownedMemory(address_of(phantom), span, self)
        pointer = cuda.MemoryPointer(memory, 0)
        return self.xp.ndarray(phantom.shape, phantom.dtype, pointer, phantom.strides)

    # -- steps --------------------------------------------------------------------------------

    def kernels(self, kernels: Sequence[Kernel]) -> Sequence[Any] | None:
        return load_kernels(kernels, self.xp)

    def kernel_text(self, kernels: Sequence[Kernel]) -> str:
        return translation_unit(generate(k, f"kernel_{i}") for i, k in enumerate(kernels))

    def maker(self, names: Names, arrays: Arrays, base: Callable[[Any], Any]) -> StepMaker:
        return DeviceStepMaker(names, arrays, base, self)

    def function(self, name: str, source: str, steps: Sequence[Step]) -> Callable[[], Any]:
        return Segments(name, steps, self.backend, self.faults)

    def running(self) -> Any:
        """The stream of programs, as a context."""
        return self.backend.stream

    # -- in and out ---------------------------------------------------------------------------

    def put(self, place: np.ndarray, leaf: Any) -> None:
        array, address = value_of(leaf), address_of(place)
        staging = self._staged.get(address)
        if staging is None:
            staging = self._staged[address] = Staging(self.xp, self.real(place))
        staging.put(array)

    def taken(self, place: np.ndarray, kind: str) -> Callable[[], Any]:
        real = self.real(place)
        if kind == "tensor":
            return lambda: Tensor(real.copy())
        return real.copy  # device libraries have no scalars: an array without axes
