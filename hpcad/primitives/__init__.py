"""The rule book: one family per file, each primitive with its value, VJP and shape rule."""

from hpcad.primitives import (
    attention,
    convolution,
    elementwise,
    layout,
    normalization,
    operators,
    pooling,
    product,
    reduction,
    softmax,
)

operators.install()

__all__ = [
    "attention",
    "convolution",
    "elementwise",
    "layout",
    "normalization",
    "operators",
    "pooling",
    "product",
    "reduction",
    "softmax",
]
