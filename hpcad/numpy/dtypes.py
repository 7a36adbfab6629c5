"""Data types and what is known about them."""

from __future__ import annotations

import builtins
import dataclasses
from typing import Any

import numpy as np

from hpcad.autodiff.conversion import device_backend
from hpcad.autodiff.tensor import Tensor
from hpcad.backend.half import is_bfloat16, limits
from hpcad.primitives.creation import copy as _copied
from hpcad.primitives.elementwise import cast

__all__ = [
    "astype",
    "bool",
    "can_cast",
    "complex64",
    "complex128",
    "dtype",
    "finfo",
    "float16",
    "float32",
    "float64",
    "iinfo",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "promote_types",
    "result_type",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

from numpy import (
    bool,
    complex64,
    complex128,
    dtype,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)


def astype(x: Any, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Any:
    """Convert to another data type.

    Parameters
    ----------
    x : array
    dtype : dtype
    copy : bool
        Copy even if the dtype is that of ``x`` already; if not, ``x`` itself is returned.
    device : optional
        Where the result is put.

    Returns
    -------
    array
        Differentiable from and to floating-point and complex numbers; integers and booleans are
        constants.

    Raises
    ------
    TypeError
        From complex to real numbers: say ``real(x)`` or ``imag(x)``.
    """
    wanted = np.dtype(dtype)
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    if x.dtype.kind == "c" and wanted.kind not in "cb":
        raise TypeError(
            f"cannot cast complex numbers to {wanted}; take real(x), imag(x) or abs(x) first"
        )
    if x.dtype == wanted:
        result = _copied(x) if copy else x
    else:
        result = cast(x, dtype=wanted)
    return result if device is None else to_device(result, device)


def to_device(x: Any, device: Any) -> Any:
    """``x`` on a device."""
    if isinstance(x, Tensor):
        return x.to_device(device)
    return device_backend(device).asarray(x)


def _described(x: Any) -> Any:
    """The dtype of an array; numbers and dtypes as they are."""
    return x.dtype if not isinstance(x, type) and hasattr(x, "__array__") else x


def can_cast(from_: Any, to: Any, /, casting: Any = "safe") -> builtins.bool:
    """Whether promotion rules allow a cast from a dtype (or that of an array) to another."""
    return np.can_cast(_described(from_), _described(to), casting)


def result_type(*arrays_and_dtypes: Any) -> dtype:
    """The dtype to which operations promote arrays, dtypes and Python numbers (those are weak)."""
    return np.result_type(*map(_described, arrays_and_dtypes))


def promote_types(type1: Any, type2: Any, /) -> dtype:
    """The smallest dtype to which both can be cast."""
    return np.promote_types(type1, type2)


def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether a dtype is of a kind: another dtype, ``"integral"``, ``"real floating"``, ...

    See the array API standard for the kinds; a tuple stands for any of them.
    """
    if is_bfloat16(np.dtype(dtype)):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        return any(k in ("real floating", "numeric") or np.dtype(dtype) == k for k in kinds)
    return np.isdtype(np.dtype(dtype), kind)


@dataclasses.dataclass(frozen=True)
class FloatInfo:
    """Limits of a floating-point dtype (of its parts, if it is complex)."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype

    @property
    def tiny(self) -> float:
        return self.smallest_normal


@dataclasses.dataclass(frozen=True)
class IntInfo:
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: np.dtype


def finfo(type: Any, /) -> FloatInfo:
    """Limits of a floating-point dtype, or of that of an array."""
    kind = _described(type)
    described = isinstance(kind, np.dtype | builtins.type)
    found = limits(np.dtype(kind)) if described else np.finfo(kind)
    normal = float(found.smallest_normal)
    return FloatInfo(
        found.bits, float(found.eps), float(found.max), float(found.min), normal, found.dtype
    )


def iinfo(type: Any, /) -> IntInfo:
    """Limits of an integer dtype, or of that of an array."""
    found = np.iinfo(_described(type))
    return IntInfo(found.bits, int(found.max), int(found.min), found.dtype)
