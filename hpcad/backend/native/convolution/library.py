"""The compiled convolutions, one library per dtype, loaded at first use."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

from hpcad.backend.native.convolution.plan import Machine
from hpcad.backend.native.library import load
from hpcad.backend.native.threads import pool
from hpcad.errors import DeviceError

_PARTS = ("vectors", "product", "images", "results", "direct", "winograd")
_REALS = {"float32": ("float", 4), "float64": ("double", 8)}


def library(dtype: str) -> ctypes.CDLL | None:
    """The library for ``"float32"`` or ``"float64"``.

    Returns
    -------
    ctypes.CDLL or None
        ``None`` without a C compiler, and for other dtypes.
    """
    return _library(dtype) if dtype in _REALS else None


@functools.cache
def _library(dtype: str) -> ctypes.CDLL | None:
    loaded = load(source(dtype), f"convolution-{dtype}")
    if loaded is not None:
        for routine in (loaded.hp_convolve, loaded.hp_convolve_weight):
            routine.restype, routine.argtypes = None, [ctypes.c_void_p]
    return loaded


def compiled(dtype: str) -> ctypes.CDLL:
    """The library, for callers that have asked :func:`library` whether it is there.

    Raises
    ------
    DeviceError
    """
    loaded = library(dtype)
    if loaded is None:
        raise DeviceError(
            f"convolution: no compiled routine for {dtype}; they exist for float32 and float64 "
            "where a C compiler is found (HPCAD_CC names one). Use hpcad.nn.conv2d instead"
        )
    return loaded


def source(dtype: str) -> str:
    """The C source for one dtype: one text, so that the cache sees every change."""
    real, size = _REALS[dtype]
    here = Path(__file__).parent
    head = f'#define HP_REAL {real}\n#define HP_DOUBLE {int(size == 8)}\n#include "threads.h"\n'
    files = [*(f"{part}.h" for part in _PARTS), "convolution.c"]
    return head + "\n".join((here / file).read_text() for file in files)


def machine(dtype: str, workers: int) -> Machine:
    """What plans depend on."""
    return Machine(int(compiled(dtype).hp_lanes()), _REALS[dtype][1], workers)


def workers() -> int:
    """Threads that the pool has now."""
    runtime = pool()
    return 1 if runtime is None else int(runtime.hp_get_threads())
