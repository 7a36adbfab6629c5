"""Functions that move elements and change shapes."""

from hpcad.primitives.layout import (
    concatenate,
    expand_dims,
    matrix_transpose,
    reshape,
    split,
    stack,
    transpose,
    unstack,
)
from hpcad.primitives.reduction import broadcast_to

__all__: list[str] = [
    "broadcast_to",
    "concatenate",
    "expand_dims",
    "matrix_transpose",
    "reshape",
    "split",
    "stack",
    "transpose",
    "unstack",
]
