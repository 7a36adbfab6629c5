"""Searching. The answers are indices: constants; ``where`` with three arguments is linear."""

from __future__ import annotations

from typing import Any

from hpcad.errors import ConfigError
from hpcad.primitives import elementwise, layout, ordering, reduction
from hpcad.primitives.joining import stack
from hpcad.primitives.reduction import Axis
from hpcad.primitives.shapes import as_array

__all__: list[str] = [
    "argmax",
    "argmin",
    "argwhere",
    "count_nonzero",
    "flatnonzero",
    "nonzero",
    "searchsorted",
    "where",
]


def argmax(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """Index of the largest element along ``axis`` (in the flattened array), the first at ties."""
    return ordering.argmax(x, axis, keepdims)


def argmin(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """Index of the smallest element along ``axis`` (in the flattened array), the first at ties."""
    return ordering.argmin(x, axis, keepdims)


def count_nonzero(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """How many elements are not zero."""
    return reduction.count_nonzero(x, axis, keepdims)


def nonzero(x: Any, /) -> tuple[Any, ...]:
    """Indices of the elements that are not zero, one array for each axis."""
    return ordering.nonzero(x)


def argwhere(x: Any, /) -> Any:
    """Indices of the elements that are not zero, one row for each."""
    x = as_array(x)
    if len(x.shape) == 0:
        return layout.reshape(stack(nonzero(layout.reshape(x, (1,)))), (-1, 1))[:, :0]
    return stack(nonzero(x), 1)


def flatnonzero(x: Any, /) -> Any:
    """Indices in the flattened array of the elements that are not zero."""
    return nonzero(layout.reshape(as_array(x), (-1,)))[0]


def searchsorted(x1: Any, x2: Any, /, side: str = "left", sorter: Any = None) -> Any:
    """Where to insert the elements of ``x2`` so that ``x1`` stays sorted.

    Parameters
    ----------
    x1 : array, shape (n,)
        Ascending, or put in order by ``sorter``.
    x2 : array or number
    side : {"left", "right"}
        Before or behind equal elements.
    sorter : integer array, shape (n,), optional
    """
    return ordering.searchsorted(x1, x2, side, sorter)


def where(condition: Any, x1: Any = None, x2: Any = None, /) -> Any:
    """``x1`` where the condition holds, ``x2`` elsewhere; with it alone, :func:`nonzero`.

    What is not chosen gets the cotangent 0.
    """
    if (x1 is None) != (x2 is None):
        raise ConfigError("where takes a condition alone, or with both alternatives")
    return nonzero(condition) if x1 is None else elementwise.where(condition, x1, x2)
