"""What a convolution is to cuDNN: sizes, types, what follows it, and which engines may do it.

Images are (N, H, W, C), as everywhere in hpcad. Weights are (K, KH, KW, C) here: the layout that
cuDNN documents for images in this order. hpcad keeps them as (KH, KW, C, K); who calls turns them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpcad.errors import DeviceError, ShapeError

Pair = tuple[int, int]
Shape = tuple[int, ...]

#: Operands of each way, and what it finds.
GIVEN = {"forward": ("x", "w"), "input": ("g", "w"), "weight": ("x", "g")}
FOUND = {"forward": "y", "input": "dx", "weight": "dw"}
#: The number of each tensor in a graph.
UID = {name: i for i, name in enumerate(("x", "w", "bias", "g", "y", "dx", "dw"), start=1)}

HALVES = ("bfloat16", "float16")
DTYPES = ("float32", *HALVES)
MOST = 256 << 20  # bytes of workspace

NONDETERMINISTIC = "NONDETERMINISTIC"
# Float32 numbers are multiplied as tf32 by tensor cores, or as other shorter types.
ROUNDING = ("TENSOR_CORE", "DOWN_CONVERT_INPUTS")


@dataclass(frozen=True)
class ConvolutionProblem:
    """``y = relu(x * w + bias)``, or a gradient of ``x * w``.

    Sums are float32 in all types. What is not deterministic is refused.

    Attributes
    ----------
    way : str
        ``"forward"``; ``"input"``: the gradient of the images; ``"weight"``: that of the weights.
    dtype : str
        Of the operands: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    images : tuple of int
        (N, H, W, C).
    filters : int
        K.
    kernel, stride, padding : pair of int
        Along H and W; padding is with zeros, on both sides.
    answer : str
        Type of what is found: that of the operands; of ``"weight"`` also float32.
    bias, relu : bool
        What follows a forward convolution: a number for each filter is added, then ReLU.
    tf32 : bool
        Whether float32 operands may be rounded to 10 bits of mantissa.

    Raises
    ------
    DeviceError
        A way or type that there is not.
    ShapeError
        Sizes that no convolution has.
    """

    way: str
    dtype: str
    images: tuple[int, int, int, int]
    filters: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    answer: str = ""
    bias: bool = False
    relu: bool = False
    tf32: bool = False

    def __post_init__(self) -> None:
        if not self.answer:
            object.__setattr__(self, "answer", self.dtype)
        self._check_way()
        self._check_sizes()

    def _check_way(self) -> None:
        if self.way not in FOUND:
            raise DeviceError(f"a convolution goes {', '.join(FOUND)}; not {self.way!r}")
        if self.dtype not in DTYPES:
            raise DeviceError(
                f"cuDNN is given convolutions of {', '.join(DTYPES)}; not of {self.dtype}"
            )
        answers = {self.dtype, "float32"} if self.way == "weight" else {self.dtype}
        if self.answer not in answers:
            raise DeviceError(
                f"a convolution of {self.dtype} ({self.way}) finds {' or '.join(sorted(answers))}; "
                f"not {self.answer}"
            )
        if self.way != "forward" and (self.bias or self.relu):
            raise DeviceError(
                f"bias and ReLU follow a forward convolution, not a gradient ({self.way})"
            )

    def _check_sizes(self) -> None:
        sizes = (*self.images, self.filters, *self.kernel, *self.stride)
        if len(self.images) != 4 or min(sizes) < 1 or min(self.padding) < 0:
            raise ShapeError(
                f"a convolution has images (N, H, W, C), filters, kernel and stride of 1 or more, "
                f"and padding of 0 or more; got images {self.images}, {self.filters} filters, "
                f"kernel {self.kernel}, stride {self.stride}, padding {self.padding}"
            )
        if min(self.out[1:3]) < 1:
            raise ShapeError(
                f"images of {self.images[1]} x {self.images[2]} with padding {self.padding} are "
                f"smaller than the kernel of {self.kernel[0]} x {self.kernel[1]}"
            )

    # -- tensors -----------------------------------------------------------------------------------

    @property
    def out(self) -> tuple[int, int, int, int]:
        """(N, OH, OW, K)."""
        n, h, w, _ = self.images
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding
        return n, (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1, self.filters

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the operands."""
        return (*GIVEN[self.way], *(("bias",) if self.bias else ()))

    @property
    def found(self) -> str:
        """Name of the answer."""
        return FOUND[self.way]

    def shape(self, name: str) -> tuple[int, int, int, int]:
        """As it lies in memory, without gaps: features last."""
        if name in ("x", "dx"):
            return self.images
        if name in ("w", "dw"):
            return self.filters, *self.kernel, self.images[3]
        return (1, 1, 1, self.filters) if name == "bias" else self.out

    def layout(self, name: str) -> tuple[Shape, Shape]:
        """Shape and steps in the order in which cuDNN counts axes: features second."""
        a, b, c, d = self.shape(name)
        return (a, d, b, c), (b * c * d, 1, c * d, d)

    def type_of(self, name: str) -> str:
        return self.answer if name == self.found else self.dtype

    # -- what plans are chosen by ------------------------------------------------------------------

    @property
    def refused(self) -> tuple[str, ...]:
        exact = self.dtype == "float32" and not self.tf32
        return (NONDETERMINISTIC, *(ROUNDING if exact else ()))

    @property
    def most(self) -> int:
        return MOST

    @property
    def product(self) -> tuple[int, int, int]:
        """m, n and k of the product that it is: pixels, filters, elements of a patch."""
        n, oh, ow, _ = self.out
        return n * oh * ow, self.filters, math.prod(self.kernel) * self.images[3]

    @property
    def flops(self) -> int:
        return 2 * math.prod(self.product)
