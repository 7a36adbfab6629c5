"""Max pooling, the way back, and the way back of that (``pool.c``)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from hpcad.backend.native.rows import REALS, library

_LARGEST = 11  # size * size parts must be numbered by one signed byte


class _Job(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("image", "pooled", "winner", "mask")),
        *((name, ctypes.c_long) for name in ("images", "height", "width", "channels", "size")),
        *((name, ctypes.c_long) for name in ("image_stride", "row_stride", "pixel_stride")),
        ("relu", ctypes.c_long),
    ]


@dataclass(frozen=True)
class _Pool:
    """Shapes that the routines share.

    Attributes
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.
    shape : tuple of int
        Of the images: (N, H, W, C).
    size : int
        Windows are ``size`` x ``size``; rows and columns left over belong to none.
    strides : tuple of int, optional
        Of the images along N, H and W, if they are not contiguous.
    """

    dtype: str
    shape: tuple[int, int, int, int]
    size: int
    strides: tuple[int, int, int] | None = None

    @property
    def supported(self) -> bool:
        """Whether there is a routine for this dtype and size, and a C compiler."""
        known = self.dtype in REALS and 1 <= self.size <= min(_LARGEST, *self.shape[1:3])
        return known and library("pool.c", self.dtype) is not None

    def _bound(
        self, name: str, image: int, pooled: int, winner: int, mask: int = 0, relu: bool = False
    ) -> Any:
        _, height, width, channels = self.shape
        strides = self.strides or (height * width * channels, width * channels, channels)
        job = _Job(image, pooled, winner, mask, *self.shape, self.size, *strides, relu)
        routine = getattr(library("pool.c", self.dtype), name)
        routine.restype = None
        return functools.partial(routine, ctypes.pointer(job))


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The maximum of each window, and which of its parts that was (int8, the first at ties).

    Attributes
    ----------
    relu : bool
        Store ``max(0, maximum)``: pooling and relu may change places, but where no element of a
        window is positive another part may be said to have won.
    """

    relu: bool = False

    def bind(self, image: int, pooled: int, winner: int) -> Callable[[], None]:
        """Fix the addresses; ``pooled`` and ``winner`` are written."""
        bound: Callable[[], None] = self._bound(
            "hp_max_pool", image, pooled, winner, relu=self.relu
        )
        return bound


@dataclass(frozen=True)
class Unpool(_Pool):
    """The cotangent of the images from that of the pooled ones: at the winners, 0 elsewhere."""

    def bind(self, g: int, winner: int, image: int, mask: int = 0) -> Callable[[], None]:
        """Fix the addresses; ``image`` is written, rows and columns left over included.

        Parameters
        ----------
        mask : int, optional
            Pooled images after relu: cotangents pass where they are positive.
        """
        bound: Callable[[], None] = self._bound("hp_unpool", image, g, winner, mask)
        return bound


@dataclass(frozen=True)
class Pick(_Pool):
    """The elements of the images at given winners: the adjoint of :class:`Unpool`."""

    def bind(self, image: int, winner: int, picked: int) -> Callable[[], None]:
        """Fix the addresses; ``picked`` is written."""
        bound: Callable[[], None] = self._bound("hp_pick", image, picked, winner)
        return bound
