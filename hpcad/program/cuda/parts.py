"""What a generated kernel is: its text, its launches, and what they ask for."""

from __future__ import annotations

from dataclasses import dataclass

from hpcad.program.cuda.graph import Graph
from hpcad.program.kernels.ir import Kernel
from hpcad.program.kernels.scalars import C_TYPES, STORED


@dataclass(frozen=True)
class Launch:
    """One launch; all launches of a kernel get the same arguments, and run one after the other.

    Attributes
    ----------
    entry : str
        Name of the ``__global__`` function.
    grid : tuple of int
        Blocks along x and y.
    block : int
        Threads.
    """

    entry: str
    grid: tuple[int, int]
    block: int


@dataclass(frozen=True)
class Variant:
    """A way to compute a kernel.

    Attributes
    ----------
    alignment : tuple of int
        Bytes of which the address of each operand must be a multiple.
    launches : tuple of Launch
    source : str
    """

    alignment: tuple[int, ...]
    launches: tuple[Launch, ...]
    source: str


@dataclass(frozen=True)
class CudaKernel:
    """A kernel in CUDA C++.

    The arguments of its functions are pointers to the operands, the run-time scalars, and, if
    ``scratch`` is not 0, a pointer to that many bytes, a multiple of 256.

    Attributes
    ----------
    name : str
    kernel : Kernel
        As it was given.
    variants : tuple of Variant
        The first whose alignment holds is the fastest; the last always holds.
    scratch : int
    """

    name: str
    kernel: Kernel
    variants: tuple[Variant, ...]
    scratch: int

    @property
    def scalars(self) -> tuple[str, ...]:
        """Dtypes of the run-time scalars."""
        return self.kernel.scalars

    @property
    def source(self) -> str:
        """The text of all variants; it needs the prelude before it."""
        return "\n".join(variant.source for variant in self.variants)

    @property
    def entries(self) -> list[str]:
        """Names of all ``__global__`` functions."""
        return [launch.entry for variant in self.variants for launch in variant.launches]


def head(graph: Graph, entry: str, block: int, scratch: bool) -> str:
    """The first line of a ``__global__`` function."""
    kernel = graph.kernel
    arguments = [
        f"{'' if number in graph.written else 'const '}{STORED[operand.dtype]} "
        f"*__restrict__ p{number}"
        for number, operand in enumerate(kernel.operands)
    ]
    arguments += [f"const {C_TYPES[dtype]} s{i}" for i, dtype in enumerate(kernel.scalars)]
    if scratch:
        arguments.append("unsigned char *__restrict__ scratch")
    listed = ", ".join(arguments)
    return f'extern "C" __global__ void __launch_bounds__({block}) {entry}({listed})'


def ceil_div(a: int, b: int) -> int:
    """The quotient, rounded up."""
    return -(-a // b)
