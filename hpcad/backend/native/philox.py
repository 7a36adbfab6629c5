"""Uniform random numbers of rows (``philox.c``)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from hpcad.backend.native.rows import REALS, library


class _Job(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("ids", "step", "target")),
        *((name, ctypes.c_long) for name in ("rows", "width")),
        ("key", ctypes.c_uint32 * 2),
    ]


@dataclass(frozen=True)
class UniformRows:
    """What :func:`hpcad.backend.random.rows_of` computes, to the bit.

    Attributes
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.
    rows, width : int
    key : two integers below 2**32
        Of the stream.
    """

    dtype: str
    rows: int
    width: int
    key: tuple[int, int]

    @property
    def supported(self) -> bool:
        """Whether there is a routine for this dtype, and a C compiler."""
        return self.dtype in REALS and library("philox.c", self.dtype) is not None

    def bind(self, ids: int, step: int, out: int) -> Callable[[], None]:
        """Fix the addresses: of the rows' numbers and of the step (int64), and of the answer."""
        key = (ctypes.c_uint32 * 2)(*self.key)
        job = _Job(ids, step, out, self.rows, self.width, key)
        routine = library("philox.c", self.dtype).hp_uniform_rows  # type: ignore[union-attr]
        routine.restype = None
        return functools.partial(routine, ctypes.pointer(job))
