"""Flat arenas: one contiguous array, many named views.

Parameters, gradients and optimizer state each live in one arena, so a bucket is a slice, an
optimizer is one pass, and a checkpoint is a copy of named views.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hpcad.backend.protocol import Array, Shape
from hpcad.backend.select import backend_of, get_backend

ALIGNMENT = 64  # bytes; every view starts on a cache line


class Arena:
    """One contiguous 1-D array with named views.

    Parameters
    ----------
    shapes : mapping of name to shape
        Laid out in this order.
    dtype : dtype
        Of all views.
    allocate : callable, optional
        ``allocate(nbytes)`` returns that many zeroed bytes (a uint8 array). Communicators pass
        their own, so that gradients are born in memory that can be reduced in place.

    Attributes
    ----------
    flat : array, shape (size,)
        The whole arena, including the padding between views (always zero).
    views : dict of name to array
        Views into ``flat``.
    spans : dict of name to slice
        Where each view lies in ``flat``, in elements.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        dtype: Any,
        allocate: Callable[[int], Array] | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.spans, size = _layout(shapes, ALIGNMENT // self.dtype.itemsize)
        buffer = (allocate or get_backend("cpu").allocate)(size * self.dtype.itemsize)
        self.flat = buffer.view(self.dtype)
        self.views = {
            name: self.flat[span].reshape(shapes[name]) for name, span in self.spans.items()
        }

    @property
    def size(self) -> int:
        """Number of elements, padding included."""
        return self.flat.size

    def like(self, allocate: Callable[[int], Array] | None = None) -> Arena:
        """Return a new zeroed arena with the same layout, on the same device by default."""
        shapes = {name: view.shape for name, view in self.views.items()}
        return Arena(shapes, self.dtype, allocate or backend_of(self.flat).allocate)


def _layout(shapes: Mapping[str, Shape], step: int) -> tuple[dict[str, slice], int]:
    spans, start = {}, 0
    for name, shape in shapes.items():
        count = math.prod(shape)
        spans[name] = slice(start, start + count)
        start += -(-count // step) * step
    return spans, start
