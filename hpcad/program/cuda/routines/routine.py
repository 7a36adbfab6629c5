"""What a hand-written routine is: launches, operands, and the same in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.program.cuda.parts import Variant

Reference = Callable[[list[np.ndarray], list[Any]], None]


@dataclass(frozen=True)
class Flat:
    """An operand: neighbouring elements.

    Attributes
    ----------
    dtype : str
        As NumPy and ml_dtypes name it: ``"float32"``, ``"bfloat16"``...
    count : int
        Elements, from the lowest address that the routine may touch to the highest.
    role : str
        ``"read"``, ``"write"`` (whatever was there before is lost) or ``"update"`` (both).
    start : int
        Elements from that lowest address to the first element of the array that is meant; not 0
        only for arrays with negative strides.
    """

    dtype: str
    count: int
    role: str
    start: int = 0


@dataclass(frozen=True)
class DeviceRoutine:
    """A routine in CUDA C++, called as generated kernels are.

    The arguments of its functions are pointers to the lowest element of each operand, the run-time
    scalars, and, if ``scratch`` is not 0, a pointer to that many bytes, a multiple of 256. What
    was in the scratch memory before does not matter.

    Attributes
    ----------
    name : str
        Equal for routines that do the same on equal shapes, and different otherwise: of several
        with one name, one has to be compiled.
    variants : tuple of Variant
        The first whose alignment holds is the fastest; the last always holds.
    scratch : int
        Bytes.
    scalars : tuple of str
        Dtypes of the run-time scalars.
    operands : tuple of Flat
    reference : callable
        ``reference(arrays, scalars)`` computes the same with NumPy, in place, on one flat array
        per operand.
    flops : int
    """

    name: str
    variants: tuple[Variant, ...]
    scratch: int
    scalars: tuple[str, ...]
    operands: tuple[Flat, ...]
    reference: Reference
    flops: int = 0

    @property
    def source(self) -> str:
        """The text of all variants; it needs the prelude before it."""
        return "\n".join(variant.source for variant in self.variants)

    @property
    def entries(self) -> list[str]:
        """Names of all ``__global__`` functions."""
        launches = [launch.entry for variant in self.variants for launch in variant.launches]
        return list(dict.fromkeys(launches))
