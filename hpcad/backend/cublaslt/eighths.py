"""8-bit operands: bytes that are numbers of one of two types, times a factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpcad.backend.cublaslt.layout import Meta, meta
from hpcad.errors import ShapeError

NAMES = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2"}


@dataclass(frozen=True)
class Eighths:
    """How the bytes of the operands of a product are read. Not yet run on a GPU.

    Attributes
    ----------
    a, b : {"e4m3", "e5m2"}
        4 bits of exponent and 3 of mantissa, for weights and activations, or 5 and 2, for
        gradients; not both e5m2.
    scale_a, scale_b : device array of one float32, optional
        Factors of the operands, read at each call.

    Notes
    -----
    The result is bfloat16, float16 or float32, and sums are in float32. Hopper multiplies only rows
    of ``a`` by columns of ``b`` that lie without steps (``b`` is a transposed view of rows), and
    sides that are multiples of 16; there ``bind_product`` returns ``None`` for others.
    """

    a: str = "e4m3"
    b: str = "e4m3"
    scale_a: Any = None
    scale_b: Any = None

    def __post_init__(self) -> None:
        for name in (self.a, self.b):
            if name not in NAMES:
                raise ShapeError(f"no 8-bit type is called {name!r}; there are {', '.join(NAMES)}")
        for scale in (self.scale_a, self.scale_b):
            if scale is not None and (scale.size != 1 or scale.dtype.name != "float32"):
                raise ShapeError(
                    f"the factor of an 8-bit operand is one float32 on the device, not "
                    f"{scale.size} of {scale.dtype.name}"
                )

    def read(self, a: Any, b: Any) -> tuple[Meta, Meta]:
        """What is known of the operands."""
        for array in (a, b):
            if array.itemsize != 1:
                raise ShapeError(f"8-bit operands are arrays of uint8, not of {array.dtype.name}")
        one, other = meta(a), meta(b)
        return one._replace(dtype=NAMES[self.a]), other._replace(dtype=NAMES[self.b])

    def addresses(self, swapped: bool) -> tuple[int, int]:
        """Of the factors of the library's A and B; 0 stands for 1."""
        found = [0 if x is None else x.data.ptr for x in (self.scale_a, self.scale_b)]
        return (found[1], found[0]) if swapped else (found[0], found[1])
