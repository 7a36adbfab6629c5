"""Elementwise reduction of several arrays, in a fixed order (``combine.c``)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.backend.native.compiler import HEADERS
from hpcad.backend.native.library import load

UFUNCS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
_COMPILED = frozenset({"float32", "float64", "int32", "int64"})
_BLOCK = 1 << 14  # elements that stay in a cache while NumPy passes over them


def combine(
    sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], op: str, first: int, stop: int
) -> None:
    """Write the reduction over several arrays into several arrays, for one slice.

    ``t[first:stop] = s_0[first:stop] o s_1[first:stop] o ...`` for every target t, from left to
    right, so that the bits depend on the order of the sources only.

    Parameters
    ----------
    sources, targets : sequence of ndarray, shape (n,)
        Contiguous, of one dtype. A target may be a source; apart from that they do not overlap.
    op : {"sum", "prod", "max", "min"}
    first, stop : int
        In elements.
    """
    routine = _routine(op, sources[0].dtype.name)
    if routine is None:
        reference(sources, targets, op, first, stop)
        return
    routine(_addresses(sources), len(sources), _addresses(targets), len(targets), first, stop)


def reference(
    sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], op: str, first: int, stop: int
) -> None:
    """Do the same by NumPy, to the bit."""
    ufunc = UFUNCS[op]
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(first, stop, _BLOCK):
            part = slice(start, min(stop, start + _BLOCK))
            block = sources[0][part].copy()
            for other in sources[1:]:
                ufunc(block, other[part], out=block)
            for target in targets:
                target[part] = block


def _addresses(arrays: Sequence[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])


@functools.cache
def _routine(op: str, dtype: str) -> Callable[..., None] | None:
    library = _library() if dtype in _COMPILED else None
    if library is None:
        return None
    routine: Any = getattr(library, f"hp_combine_{op}_{dtype}")
    routine.restype = None
    pointers, number = ctypes.c_void_p, ctypes.c_long
    routine.argtypes = [pointers, number, pointers, number, number, number]
    return routine


@functools.cache
def _library() -> ctypes.CDLL | None:
    return load((HEADERS / "combine.c").read_text(), "combine")
