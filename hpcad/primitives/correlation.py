"""Convolution of two vectors: bilinear, closed under its adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives.indexing import getitem
from hpcad.primitives.layout import flip
from hpcad.primitives.shapes import Shape


def _against(g: Any, other: Any, length: int) -> Any:
    """Cotangent of one factor: the inner part of ``g`` convolved with the other one reversed."""
    start = np.shape(other)[0] - 1
    return getitem(convolve_full(g, flip(other)), slice(start, start + length))


def _full(x: Shape, y: Shape) -> Shape:
    return (x[0] + y[0] - 1,)


convolve_full = Primitive(
    "convolve_full",
    np.convolve,
    _full,
    [
        lambda g, _z, x, y: _against(g, y, np.shape(x)[0]),
        lambda g, _z, x, y: _against(g, x, np.shape(y)[0]),
    ],
    jvp="linear",
)
