"""Arrays in half precision: rounded, added up in single precision, and widened (``half.c``).

==========  ================  =============  ======================================================
format      significant bits  unit roundoff  range
==========  ================  =============  ======================================================
bfloat16    8                 2^-8 (0.39 %)  that of float32
float16     11                2^-11          6e-8 to 65504, moved to where the numbers are by a
                              (0.05 %)       power of two, the *exponent*
==========  ================  =============  ======================================================

Halves are kept as bits in uint16 arrays: NumPy has no bfloat16. Rounding is to nearest, ties to
even; float64 is rounded to float32 first. NaN, infinities and signs survive.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend.native.compiler import HEADERS
from hpcad.backend.native.library import load

_TOP = 14  # the largest number of a float16 array becomes 2^14 to 2^15: rounding cannot overflow
_LOWEST, _HIGHEST = -126, 113  # exponents whose power and its inverse are normal in float32
_BLOCK = 1 << 14  # elements that stay in a cache while NumPy passes over them


@dataclass(frozen=True)
class Half:
    """A format of 16 bits.

    Attributes
    ----------
    name : {"bfloat16", "float16"}
    roundoff : float
        The largest relative error of one rounding, u.
    scaled : bool
        Whether arrays need an exponent.
    """

    name: str
    roundoff: float
    scaled: bool

    def exponent(self, array: np.ndarray) -> int:
        """The power of two that brings the largest finite number of an array into range.

        Parameters
        ----------
        array : ndarray, shape (n,), float32 or float64

        Returns
        -------
        int
            e, for halves that stand for ``h * 2**e``; 0 where the format needs none.
        """
        largest = _largest(array) if self.scaled else 0.0
        if largest == 0.0:
            return 0
        return min(max(math.frexp(largest)[1] - 1 - _TOP, _LOWEST), _HIGHEST)

    def round(self, array: np.ndarray, halves: np.ndarray, exponent: int = 0) -> None:
        """Write ``array * 2**-exponent`` in this format.

        Parameters
        ----------
        array : ndarray, shape (n,), float32 or float64
        halves : ndarray, shape (n,), uint16
        """
        routine = _routine(f"hp_round_{self.name}_{array.dtype.name}")
        if routine is None:
            round_reference(self.name, array, halves, exponent)
        else:
            routine(array.ctypes.data, halves.ctypes.data, array.size, math.ldexp(1.0, -exponent))

    def widen(self, halves: np.ndarray, array: np.ndarray, exponent: int = 0) -> None:
        """Write ``halves * 2**exponent`` to a float32 or float64 array; exact in range."""
        routine = _routine(f"hp_widen_{self.name}_{array.dtype.name}")
        if routine is None:
            widen_reference(self.name, halves, array, exponent)
        else:
            routine(halves.ctypes.data, array.ctypes.data, array.size, math.ldexp(1.0, exponent))

    def add(self, halves: np.ndarray, total: np.ndarray, exponent: int = 0) -> None:
        """Add ``halves * 2**exponent`` to a float32 array, in float32."""
        routine = _routine(f"hp_add_{self.name}")
        if routine is None:
            add_reference(self.name, halves, total, exponent)
        else:
            routine(halves.ctypes.data, total.ctypes.data, total.size, math.ldexp(1.0, exponent))


BFLOAT16 = Half("bfloat16", 2.0**-8, scaled=False)
FLOAT16 = Half("float16", 2.0**-11, scaled=True)
FORMATS = {half.name: half for half in (BFLOAT16, FLOAT16)}


def round_reference(name: str, array: np.ndarray, halves: np.ndarray, exponent: int) -> None:
    """Do as :meth:`Half.round` by NumPy, to the bit, but for the payload of NaNs."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for part in _parts(array.size):
            scaled = (array[part] * array.dtype.type(2.0**-exponent)).astype(np.float32)
            if name == "float16":
                halves[part] = scaled.astype(np.float16).view(np.uint16)
                continue
            bits = scaled.view(np.uint32)
            rounded = bits + np.uint32(0x7FFF) + (bits >> 16 & 1)
            rounded = np.where(np.isnan(scaled), bits | np.uint32(0x400000), rounded)
            halves[part] = (rounded >> 16).astype(np.uint16)


def widen_reference(name: str, halves: np.ndarray, array: np.ndarray, exponent: int) -> None:
    """Do as :meth:`Half.widen` by NumPy, to the bit."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for part in _parts(array.size):
            factor = array.dtype.type(2.0**exponent)
            array[part] = _single(name, halves[part]).astype(array.dtype) * factor


def add_reference(name: str, halves: np.ndarray, total: np.ndarray, exponent: int) -> None:
    """Do as :meth:`Half.add` by NumPy, to the bit."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for part in _parts(total.size):
            total[part] += _single(name, halves[part]) * np.float32(2.0**exponent)


def largest_reference(array: np.ndarray) -> float:
    """The largest finite magnitude, by NumPy; 0 where there is none."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def _single(name: str, halves: np.ndarray) -> np.ndarray:
    if name == "float16":
        return halves.view(np.float16).astype(np.float32)
    return (halves.astype(np.uint32) << 16).view(np.float32)


def _largest(array: np.ndarray) -> float:
    routine = _routine(f"hp_largest_{array.dtype.name}")
    return largest_reference(array) if routine is None else routine(array.ctypes.data, array.size)


def _parts(size: int) -> list[slice]:
    return [slice(start, min(size, start + _BLOCK)) for start in range(0, size, _BLOCK)]


@functools.cache
def _routine(name: str) -> Callable[..., Any] | None:
    library = _library()
    if library is None:
        return None
    routine: Any = getattr(library, name)
    pointer, number, real = ctypes.c_void_p, ctypes.c_long, ctypes.c_double
    of_one = name.startswith("hp_largest")
    routine.restype = real if of_one else None
    routine.argtypes = [pointer, number] if of_one else [pointer, pointer, number, real]
    return routine


@functools.cache
def _library() -> ctypes.CDLL | None:
    return load((HEADERS / "half.c").read_text(), "half")
