"""Padding: linear in the array, and in the values that are put around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.tensor import Tensor
from hpcad.errors import ConfigError, ShapeError
from hpcad.primitives.elementwise import cast
from hpcad.primitives.indexing import getitem
from hpcad.primitives.repetition import Widths, pad_by_index, pad_values, pad_zeros
from hpcad.primitives.shapes import as_array

__all__: list[str] = ["pad"]

COPIES = ("edge", "reflect", "symmetric", "wrap")


def pad(x: Any, /, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Any:
    """Put elements around an array.

    Parameters
    ----------
    x : array
    pad_width : int, (before, after), or one such pair for each axis
    mode : {"constant", "edge", "reflect", "symmetric", "wrap"}
        What is put there: given values, the outermost element, the mirror image without and
        with it, or what stands at the other end.
    constant_values : number, (before, after), or one such pair for each axis
        Numbers or 0-d tensors, differentiable.

    Returns
    -------
    array
        VJP: the inner part of the cotangent, and what went to copies added to the originals.
    """
    x = as_array(x)
    ndim = len(x.shape)
    widths = _widths(pad_width, ndim)
    if mode == "constant":
        if _is_zero(constant_values):
            return pad_zeros(x, widths)
        return pad_values(x, widths, _values(constant_values, ndim, x))
    if mode in COPIES:
        return pad_by_index(x, widths, mode)
    raise ConfigError(
        f"pad: unknown mode {mode!r}; expected one of 'constant', " + ", ".join(map(repr, COPIES))
    )


def _widths(given: Any, ndim: int) -> Widths:
    pairs = np.broadcast_to(np.asarray(given), (ndim, 2)) if np.size(given) else np.empty((0, 2))
    if pairs.dtype.kind not in "iu" and pairs.size:
        raise ShapeError(f"pad: widths must be integers, not {given!r}")
    if (pairs < 0).any():
        raise ShapeError(f"pad: widths cannot be negative, but are {given!r}")
    return tuple((int(a), int(b)) for a, b in pairs)


def _is_zero(given: Any) -> bool:
    return isinstance(given, int | float) and given == 0


def _values(given: Any, ndim: int, array: Any) -> list[tuple[Any, Any]]:
    """One pair for each axis, in the dtype of the array and where it lies."""

    def value(x: Any) -> Any:
        x = as_array(x, beside=array)
        return x if x.dtype == array.dtype else cast(x, dtype=array.dtype)

    if not isinstance(given, (tuple, list)):
        given = as_array(given, beside=array)
        shape = tuple(given.shape)
        if shape == ():
            return [(value(given), value(given))] * ndim
        given = [getitem(given, i) for i in range(shape[0])]
    pairs = [_pair(part) for part in given]
    if len(pairs) == 2 and all(len(p) == 1 for p in pairs):
        pairs = [(pairs[0][0], pairs[1][0])]
    if len(pairs) == 1:
        pairs = pairs * ndim
    if len(pairs) != ndim:
        raise ShapeError(f"pad: {len(pairs)} pairs of constant values for {ndim} axes")
    return [(value(p[0]), value(p[-1])) for p in pairs]


def _pair(part: Any) -> tuple[Any, ...]:
    if isinstance(part, (tuple, list)):
        return tuple(part)
    if isinstance(part, Tensor) or hasattr(part, "dtype"):
        return tuple(getitem(part, i) for i in range(part.shape[0])) if part.shape else (part,)
    return (part,)
