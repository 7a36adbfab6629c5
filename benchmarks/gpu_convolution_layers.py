"""Convolutions of networks: those that gpu_convolution.py times, and tiny ones that it checks."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """A convolution of square images.

    Attributes
    ----------
    name : str
    size : int
        H and W of the images.
    channels, filters : int
    kernel, stride, padding : int
        Along both axes.
    """

    name: str
    size: int
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0

    @property
    def out(self) -> int:
        """OH and OW."""
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    def flops(self, batch: int) -> int:
        """Of each way, forward and back alike."""
        pixels = batch * self.out**2
        return 2 * pixels * self.filters * self.kernel**2 * self.channels


# Of ResNet-50 (He et al., arXiv:1512.03385, table 1, with the stride in the 3 x 3 convolution), on
# images of 224 x 224; and the first of a small network for digits.
LAYERS = (
    Layer("7x7/2 of 3", 224, 3, 64, 7, 2, 3),
    Layer("3x3 of 64", 56, 64, 64, 3, 1, 1),
    Layer("1x1 of 64", 56, 64, 256, 1),
    Layer("3x3/2 of 128", 56, 128, 128, 3, 2, 1),
    Layer("3x3 of 128", 28, 128, 128, 3, 1, 1),
    Layer("1x1 of 512", 28, 512, 128, 1),
    Layer("3x3 of 256", 14, 256, 256, 3, 1, 1),
    Layer("1x1/2 of 512", 28, 512, 1024, 1, 2),
    Layer("3x3 of 512", 7, 512, 512, 3, 1, 1),
    Layer("3x3 of 1", 28, 1, 32, 3, 1, 1),
)
TINY = (
    Layer("tiny 3x3", 6, 4, 8, 3, 1, 1),
    Layer("tiny 3x3/2", 7, 3, 5, 3, 2, 1),
    Layer("tiny 1x1", 4, 8, 8, 1),
)
