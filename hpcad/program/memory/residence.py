"""Which memory the values of a program live in, as the memory plan sees it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from hpcad.autodiff.parameter import Parameter
from hpcad.backend import get_backend


class Residence(Protocol):
    """The host's memory, or a device's.

    Plans and kernels need no elements, only where they lie. So they work with NumPy arrays
    throughout; those of a device are *phantoms*: addresses, shapes and strides of its memory, whose
    elements nobody reads.
    """

    def allocate(self, nbytes: int) -> np.ndarray:
        """Return ``nbytes`` bytes for the values of a program; the residence keeps them alive."""
        ...

    def seen(self, array: Any) -> np.ndarray:
        """Return an array of this memory as NumPy's."""
        ...

    def holds(self, array: Any) -> bool:
        """Whether compiled code can take an array of the user as it lies."""
        ...

    def constant(self, array: Any) -> np.ndarray:
        """Return an array that never changes, in this memory and in C order; copied if need be."""
        ...

    def gradient(self, parameter: Parameter) -> np.ndarray | None:
        """Return the gradient of a parameter as NumPy's; None where it has none yet."""
        ...


class HostMemory:
    """The host's: arrays are what they are."""

    def allocate(self, nbytes: int) -> np.ndarray:
        return get_backend("cpu").allocate(max(64, nbytes))

    def seen(self, array: Any) -> np.ndarray:
        return array

    def holds(self, array: Any) -> bool:
        return array.flags.c_contiguous and array.flags.aligned

    def constant(self, array: Any) -> np.ndarray:
        return np.require(array, requirements=("C", "A"))

    def gradient(self, parameter: Parameter) -> np.ndarray | None:
        return parameter.gradient
