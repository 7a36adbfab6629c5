"""How primitives compute on arrays in half precision.

Elementwise ones compute each element in float32 and round it, as NumPy (of float16) and ml_dtypes
(of bfloat16) do. Sums, products of many factors, and functions that are made of several operations
are computed in float32 as a whole, and rounded once. The answer has the type of the arguments:
half precision if all arrays are, float32 if one of them is; a Python number takes the type of the
arrays.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.backend.half import is_half, is_real

Value = Callable[..., Any]


def in_single(value: Value) -> Value:
    """The value of a primitive, computed in float32 for arrays in half precision.

    Of several answers the first is rounded; the others are residuals, which rules read.
    """

    @functools.wraps(value)
    def of(*args: Any, **params: Any) -> Any:
        kind = common_half(args)
        if kind is None:
            return value(*args, **params)
        answer = value(*map(widened, args), **params)
        if isinstance(answer, tuple):
            return (answer[0].astype(kind), *answer[1:])
        return answer.astype(kind)

    return of


def common_half(args: Sequence[Any]) -> Any:
    """The dtype of half precision that all floating-point arrays have, or None."""
    found = None
    for x in args:
        dtype = getattr(x, "dtype", None)
        if dtype is None or dtype.kind in "biu":
            continue
        if not is_half(dtype) or found not in (None, dtype):
            return None
        found = dtype
    return found


def widened(x: Any) -> Any:
    """An array in half precision as float32; anything else as it is."""
    dtype = getattr(x, "dtype", None)
    return x.astype(np.float32) if dtype is not None and is_half(dtype) else x


def weak(value: Value) -> Value:
    """The value of a primitive of two arguments, of which a number takes the type of the other.

    NumPy sees to that for its own types, but makes float32 of a bfloat16 and a Python number.
    """

    modules = sys.modules  # without ml_dtypes nobody has made such an array: there is less to ask

    @functools.wraps(value)
    def of(x: Any, y: Any) -> Any:
        if "ml_dtypes" in modules:
            if type(y) is float:
                y = as_bfloat16(y, x)
            elif type(x) is float:
                x = as_bfloat16(x, y)
        return value(x, y)

    return of


def as_bfloat16(number: Any, beside: Any) -> Any:
    """A Python number as a bfloat16 where it stands beside an array of them."""
    dtype = getattr(beside, "dtype", None)
    if dtype is None or dtype.kind != "V" or not isinstance(number, int | float):
        return number
    return dtype.type(number) if is_real(dtype) else number
