"""What gpu_kernels.py measures: a kernel or routine, and the sizes of GPT-2 and of tiny cases."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpcad.program.cuda.routines.routine import DeviceRoutine
from hpcad.program.kernels.ir import Kernel

HALF = "bfloat16"


@dataclass(frozen=True)
class Case:
    """Something to run on a device.

    Attributes
    ----------
    name : str
    dtype : str
        Of the activations.
    unit : Kernel or DeviceRoutine
    traffic : int
        Bytes that it must read and write: each element of each operand once for either.
    limits : dict
        Operand -> what its integers stay below.
    scalars : list
        Run-time numbers.
    given : dict
        Operand -> its numbers, where random ones mean nothing.
    flops : int
        Where arithmetic and not memory is the limit.
    """

    name: str
    dtype: str
    unit: Kernel | DeviceRoutine
    traffic: int
    limits: dict[int, int] = field(default_factory=dict)
    scalars: list[float] = field(default_factory=list)
    given: dict[int, list[float]] = field(default_factory=dict)
    flops: int = 0


@dataclass(frozen=True)
class Sizes:
    """Rows (tokens), width, hidden width, places of attention, symbols, parameters."""

    rows: int
    width: int
    hidden: int
    length: int
    vocabulary: int
    parameters: int


FULL = Sizes(32 * 1024, 768, 3072, 1024, 50304, 124_475_904)
TINY = Sizes(12, 64, 128, 32, 96, 1003)
