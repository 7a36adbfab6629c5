"""What arrays a communicator takes, checked the same way for any number of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.errors import ConfigError, ShapeError

REDUCTIONS = ("sum", "max", "min", "prod")
_ORDERED = "bBhHiIlLqQefd"  # NumPy's characters for integers and real floats
_COMPLEX = "FD"


def flat_view(array: Any, call: str) -> np.ndarray:
    """Return ``array`` as a one-dimensional view of the same memory.

    Raises
    ------
    ShapeError
        Not a NumPy array, not C-contiguous, read-only, or holding Python objects.
    """
    if not isinstance(array, np.ndarray):
        raise ShapeError(
            f"{call} works on NumPy arrays in host memory, in place, but was given "
            f"{type(array).__module__}.{type(array).__name__}; pass an ndarray"
        )
    if not array.flags.c_contiguous or not array.flags.writeable or array.dtype.hasobject:
        raise ShapeError(
            f"{call} needs a writeable C-contiguous array of numbers, but was given shape "
            f"{array.shape}, strides {array.strides}, dtype {array.dtype}, "
            f"writeable={array.flags.writeable}; pass a contiguous copy"
        )
    return array.reshape(-1)


def readable_view(array: Any, call: str) -> np.ndarray:
    """The flat view of an array that is only read; otherwise as :func:`flat_view`."""
    ours = isinstance(array, np.ndarray) and array.flags.c_contiguous and not array.dtype.hasobject
    return array.reshape(-1) if ours else flat_view(array, call)


def reducible(array: Any, op: str, call: str) -> np.ndarray:
    """Return the flat view of ``array`` if ``op`` is defined for its dtype.

    Raises
    ------
    ConfigError
        Unknown ``op``.
    ShapeError
        As :func:`flat_view`, or a dtype that has no such reduction.
    """
    if op not in REDUCTIONS:
        raise ConfigError(f"unknown reduction {op!r}; expected one of {', '.join(REDUCTIONS)}")
    flat = flat_view(array, call)
    kinds = _ORDERED if op in ("max", "min") else _ORDERED + _COMPLEX
    if flat.dtype.char not in kinds or not flat.dtype.isnative:
        raise ShapeError(
            f"{call} cannot take the {op} of dtype {flat.dtype}; convert to integers, float16, "
            "float32 or float64 in native byte order (or complex, for sum and prod)"
        )
    return flat


def widen(flat: np.ndarray) -> np.ndarray:
    """Return ``flat``, or a float32 copy of float16: not every MPI has half precision."""
    return flat.astype(np.float32) if flat.dtype == np.float16 else flat


def narrow(work: np.ndarray, target: np.ndarray) -> None:
    """Write what :func:`widen` returned back into its source."""
    if work is not target:
        with np.errstate(over="ignore"):  # beyond float16's range the sum is inf, as it should be
            target[...] = work
