"""Half precision: bfloat16, which NumPy does not have, and float16, which it has.

Arrays of bfloat16 come with ``ml_dtypes``, an optional package that is imported when the type is
first asked for by name. An array of the type needs no import to be recognised.

Both are types to *store* numbers in. Sums of many halves are accumulated in float32 and rounded
once (:func:`accumulator`): a bfloat16 cannot count beyond 256.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.errors import ConfigError

HALVES = ("bfloat16", "float16")


def bfloat16() -> np.dtype[Any]:
    """The dtype of bfloat16 arrays.

    Raises
    ------
    ConfigError
        ``ml_dtypes`` is not installed.
    """
    try:
        from ml_dtypes import bfloat16 as kind
    except ImportError as error:
        raise ConfigError(
            "arrays of bfloat16 need the package ml_dtypes, which is not installed; "
            "install it with `pip install 'hpcad[half]'`, or use float16 or float32"
        ) from error
    return np.dtype(kind)


def named(name: str) -> np.dtype[Any]:
    """The dtype that a name means, bfloat16 included.

    Raises
    ------
    ConfigError
        As :func:`bfloat16`.
    """
    return bfloat16() if name == "bfloat16" else np.dtype(name)


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is bfloat16."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is bfloat16 or float16."""
    return (dtype.kind == "f" and dtype.itemsize == 2) or is_bfloat16(dtype)


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of real floating-point numbers, bfloat16 included."""
    return dtype.kind == "f" or is_bfloat16(dtype)


def is_inexact(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of floating-point numbers, real or complex, bfloat16 included."""
    return dtype.kind in "fc" or is_bfloat16(dtype)


def limits(dtype: np.dtype[Any]) -> Any:
    """``numpy.finfo`` of a dtype, bfloat16 included."""
    if not is_bfloat16(dtype):
        return np.finfo(dtype)
    from ml_dtypes import finfo  # which made the dtype

    return finfo(dtype)


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that sums of many numbers of ``dtype`` are computed in."""
    return np.dtype(np.float32) if is_half(dtype) else dtype
