"""Sorting: a permutation of the elements, and differentiable as such."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import Tensor, known
from hpcad.primitives import ordering

__all__: list[str] = ["argpartition", "argsort", "lexsort", "partition", "sort"]


def sort(
    x: Any,
    /,
    axis: int | None = -1,
    *,
    descending: bool = False,
    stable: bool = True,
    kind: str | None = None,
) -> Any:
    """Sort along an axis; nan counts as larger than every number.

    Parameters
    ----------
    x : array
    axis : int or None
        None sorts the flattened array.
    descending : bool
    stable, kind
        Accepted as NumPy does; equal elements always keep their order.

    Returns
    -------
    array
        VJP: each cotangent goes back to where its element stood.
    """
    return ordering.sort(x, axis, descending)


def argsort(
    x: Any,
    /,
    axis: int | None = -1,
    *,
    descending: bool = False,
    stable: bool = True,
    kind: str | None = None,
) -> Any:
    """The indices that sort; constants. Parameters as for :func:`sort`."""
    return ordering.argsort(x, axis, descending, stable or kind == "stable")


def partition(x: Any, /, kth: int | Sequence[int], axis: int | None = -1) -> Any:
    """Put the elements that belong at ``kth`` there, smaller ones before, larger ones behind."""
    return ordering.partition(x, kth, axis)


def argpartition(x: Any, /, kth: int | Sequence[int], axis: int | None = -1) -> Any:
    """The indices of :func:`partition`; constants."""
    return ordering.argpartition(x, kth, axis)


def lexsort(keys: Any, /, axis: int = -1) -> Any:
    """Indices that sort by several keys, the last one first; constants."""
    if isinstance(keys, Tensor):
        return Tensor(np.lexsort(known(keys), axis))
    order = np.lexsort(tuple(known(k) for k in keys), axis)
    return Tensor(order) if any(isinstance(k, Tensor) for k in keys) else order
