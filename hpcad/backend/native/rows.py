"""Rows of a table by index, and sums of rows by index (``rows.c``)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from hpcad.backend.native.compiler import HEADERS
from hpcad.backend.native.library import load
from hpcad.errors import OutOfBoundsError

REALS = {"float32": ("float", "int32_t"), "float64": ("double", "int64_t")}
_INDICES = {"int32": ctypes.c_int32, "int64": ctypes.c_int64}


@functools.cache
def library(file: str, dtype: str) -> ctypes.CDLL | None:
    """A C file of this room, compiled for one dtype; ``None`` without a C compiler."""
    real, whole = REALS[dtype]
    types = f"#include <stdint.h>\ntypedef {real} real;\ntypedef {whole} whole;\n"
    return load(types + (HEADERS / file).read_text(), f"{file.removesuffix('.c')}-{dtype}")


class _Job(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("index", "source", "target")),
        *((name, ctypes.c_long) for name in ("wide", "count", "limit", "width")),
        *((name, ctypes.c_long) for name in ("source_stride", "target_stride", "accumulate")),
    ]


@dataclass(frozen=True)
class _Rows:
    """Shapes that both routines share.

    Attributes
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.
    index_dtype : str
        ``"int32"`` or ``"int64"``.
    table : int
        Rows of the table.
    count : int
        Indices.
    width : int
        Elements per row.
    source_stride, target_stride : int, optional
        Between rows of what is read and of what is written; ``width`` if they are contiguous.
    """

    dtype: str
    index_dtype: str
    table: int
    count: int
    width: int
    source_stride: int | None = None
    target_stride: int | None = None

    @property
    def supported(self) -> bool:
        """Whether there is a routine for these dtypes, and a C compiler."""
        known = self.dtype in REALS and self.index_dtype in _INDICES
        return known and library("rows.c", self.dtype) is not None

    def _bound(self, name: str, index: int, source: int, target: int, accumulate: bool) -> Any:
        routine = getattr(library("rows.c", self.dtype), name)
        routine.restype = ctypes.c_long
        job = _Job(
            *(index, source, target, self.index_dtype == "int64"),
            *(self.count, self.table, self.width),
            self.width if self.source_stride is None else self.source_stride,
            self.width if self.target_stride is None else self.target_stride,
            accumulate,
        )
        pointer = ctypes.pointer(job)
        numbers = (_INDICES[self.index_dtype] * self.count).from_address(index)

        def run() -> None:
            place = routine(pointer)
            if place >= 0:
                raise OutOfBoundsError(
                    f"take_rows: index {numbers[place]} (number {place} of {self.count}) is out "
                    f"of bounds for a table of {self.table} rows; indices must lie in "
                    f"[-{self.table}, {self.table})"
                )

        return run


@dataclass(frozen=True)
class GatherRows(_Rows):
    """``out[i] = table[index[i]]``."""

    def bind(self, table: int, index: int, out: int) -> Callable[[], None]:
        """Fix the addresses.

        Returns
        -------
        callable
            Raises OutOfBoundsError, having written nothing.
        """
        run: Callable[[], None] = self._bound("hp_gather_rows", index, table, out, False)
        return run


@dataclass(frozen=True)
class ScatterAddRows(_Rows):
    """``table[index[i]] += rows[i]``, in the order of the batch for any number of threads.

    Attributes
    ----------
    accumulate : bool
        Add to what the table holds; otherwise the table is zeroed first.
    """

    accumulate: bool = False

    def bind(self, rows: int, index: int, table: int) -> Callable[[], None]:
        """Fix the addresses.

        Returns
        -------
        callable
            Raises OutOfBoundsError, having written nothing.
        """
        run: Callable[[], None] = self._bound(
            "hp_scatter_add_rows", index, rows, table, self.accumulate
        )
        return run
