"""What a program is made for: the processor that runs its steps, and how arrays get there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.program.emission import emit
from hpcad.program.emission.names import Names
from hpcad.program.emission.steps import Arrays, Step, StepMaker
from hpcad.program.kernels.build import compile_kernels
from hpcad.program.kernels.generate import source as kernel_source
from hpcad.program.kernels.ir import Kernel
from hpcad.program.memory.residence import HostMemory, Residence


class Target(Residence, Protocol):
    """A processor and its memory."""

    suffix: str  # of files with the text of kernels

    def kernels(self, kernels: Sequence[Kernel]) -> Sequence[Any] | None:
        """Compile kernels into things with ``bind(pointers, scalars)``; None: no compiler."""
        ...

    def kernel_text(self, kernels: Sequence[Kernel]) -> str:
        """Return the source of kernels, for reading."""
        ...

    def maker(self, names: Names, arrays: Arrays, base: Callable[[Any], Any]) -> StepMaker:
        """Return what makes the steps that are no kernels."""
        ...

    def running(self) -> AbstractContextManager[Any]:
        """Return a context in which programs are made and run."""
        ...

    def put(self, place: np.ndarray, leaf: Any) -> None:
        """Copy an argument, or an array of the user, to its place."""
        ...

    def taken(self, place: np.ndarray, kind: str) -> Callable[[], Any]:
        """Return a function that returns what lies at a place as a thing of the caller's own."""
        ...

    def function(self, name: str, source: str, steps: Sequence[Step]) -> Callable[[], Any]:
        """Return the function that takes the steps."""
        ...


class HostTarget(HostMemory):
    """The processor that Python runs on.

    Parameters
    ----------
    native : bool
        Use kernels and BLAS calls in C, and not only NumPy.
    """

    suffix = "c"

    def __init__(self, native: bool) -> None:
        self.native = native

    def kernels(self, kernels: Sequence[Kernel]) -> Sequence[Any] | None:
        return compile_kernels(kernels)

    def kernel_text(self, kernels: Sequence[Kernel]) -> str:
        return kernel_source(kernels)[0]

    def maker(self, names: Names, arrays: Arrays, base: Callable[[Any], Any]) -> StepMaker:
        return StepMaker(names, arrays, base, self.native)

    def running(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def put(self, place: np.ndarray, leaf: Any) -> None:
        np.copyto(place, value_of(leaf))

    def taken(self, place: np.ndarray, kind: str) -> Callable[[], Any]:
        if kind == "tensor":
            return lambda: Tensor(place.copy())
        return (lambda: place[()]) if kind == "scalar" else place.copy

    def function(self, name: str, source: str, steps: Sequence[Step]) -> Callable[[], Any]:
        return emit.function(name, source, steps)
