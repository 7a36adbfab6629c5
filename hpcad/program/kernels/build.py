"""Compiled kernels, and calls of them that are ready to be made."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcad.backend.native.library import load
from hpcad.backend.native.threads import threads
from hpcad.program.kernels.generate import Generated, source
from hpcad.program.kernels.ir import Kernel

FOLDER = Path(__file__).parent  # where the headers of kernels are

_FREE = ctypes.CFUNCTYPE(None)  # lets other Python threads run meanwhile
_BRIEF = ctypes.PYFUNCTYPE(None)  # keeps them waiting, which takes less time than asking
_BRIEF_WORK = 200_000  # additions: a few microseconds


@dataclass(frozen=True)
class Compiled:
    """A kernel as machine code.

    Attributes
    ----------
    kernel : Kernel
    function : ctypes function
    scratch : int
        Bytes of scratch memory that a call needs per thread.
    """

    kernel: Kernel
    function: Any
    scratch: int

    def bind(self, pointers: Sequence[int], scalars: Any = None) -> Callable[[], Any]:
        """A call with everything in place.

        Parameters
        ----------
        pointers : sequence of int
            Address of the first element of each operand; the arrays must outlive the call.
        scalars : ctypes array of c_double, optional
            Read anew by every call.

        Returns
        -------
        callable
            Without arguments. It holds its scratch memory, so it must not run in two threads at
            once.
        """
        count = len(self.kernel.operands)
        table = (ctypes.c_void_p * (count + 3))(*pointers)
        kept: list[Any] = [scalars]
        if self.scratch:
            workers = threads()
            memory = ctypes.create_string_buffer(self.scratch * workers + 64)
            table[count] = -(-ctypes.addressof(memory) // 64) * 64
            table[count + 1] = workers
            kept.append(memory)
        if scalars is not None:
            table[count + 2] = ctypes.addressof(scalars)
        table.kept = kept  # type: ignore[attr-defined]
        return functools.partial(self.function, ctypes.byref(table))


def compile_kernels(kernels: Sequence[Kernel]) -> list[Compiled] | None:
    """Compile kernels as one C file, which the cache on disk remembers.

    Parameters
    ----------
    kernels : sequence of Kernel

    Returns
    -------
    list of Compiled or None
        None without a C compiler: let :func:`hpcad.program.kernels.interpret.interpret` compute.
    """
    text, generated = source(kernels)
    library = load(text, "kernels", include=[FOLDER])
    if library is None:
        return None
    pairs = zip(kernels, generated, strict=True)
    return [_compiled(library, kernel, each) for kernel, each in pairs]


def _compiled(library: ctypes.CDLL, kernel: Kernel, generated: Generated) -> Compiled:
    address = ctypes.cast(getattr(library, generated.name), ctypes.c_void_p).value or 0
    kind = _BRIEF if generated.work < _BRIEF_WORK else _FREE
    return Compiled(kernel, kind(address), generated.scratch)
