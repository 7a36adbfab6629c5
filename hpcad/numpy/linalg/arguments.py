"""What the functions of this room take for a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend.half import is_inexact
from hpcad.errors import ShapeError
from hpcad.primitives.elementwise import cast
from hpcad.primitives.shapes import as_array


def floating(x: Any) -> Any:
    """``x`` with floating-point or complex numbers; integers and booleans become float64."""
    x = as_array(x)
    return x if is_inexact(x.dtype) else cast(x, dtype=np.dtype(np.float64))


def matrices(x: Any, name: str, square: bool = False) -> Any:
    """A stack of matrices of floating-point or complex numbers."""
    x = floating(x)
    if len(x.shape) < 2:
        raise ShapeError(f"{name} needs a matrix or a stack of them, not shape {tuple(x.shape)}")
    if square and x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{name} needs square matrices, not shape {tuple(x.shape)}")
    return x
