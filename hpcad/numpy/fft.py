"""Discrete Fourier transforms: the ``fft`` extension of the array API standard, and NumPy's.

All are linear, so their derivatives in both modes are transforms again, of any order. Arguments
shared by all of them:

x : array
    Integers are converted to float64; float32 gives complex64.
n, s : int or sequence of int, optional
    Lengths of the transformed axes; the array is cut at the end, or filled up with zeros.
axis, axes : int or sequence of int
    The last axis by default, and all axes for the transforms of several.
norm : {"backward", "ortho", "forward"}
    Which direction is divided by the length: the inverse one, both by its square root, or the
    forward one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from hpcad.autodiff.tensor import Tensor
from hpcad.backend import get_backend
from hpcad.errors import ShapeError
from hpcad.primitives import fourier
from hpcad.primitives.elementwise import cast
from hpcad.primitives.layout import roll
from hpcad.primitives.shapes import as_array

__all__ = ["fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn",
           "ifftshift", "ihfft", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq",
           "rfftn"]  # fmt: skip

Sizes = Sequence[int] | None
PLANE = (-2, -1)


def fft(x: Any, /, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Transform along one axis: ``sum_j x_j exp(-2 pi i j k / n)``."""
    return _complex(x, n, axis, norm, inverse=False)


def ifft(x: Any, /, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse of :func:`fft`."""
    return _complex(x, n, axis, norm, inverse=True)


def rfft(x: Any, /, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The first ``n // 2 + 1`` frequencies of real numbers."""
    return _half(x, n, axis, norm, inverse=False)


def irfft(x: Any, /, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse of :func:`rfft`; ``n`` is ``2 (m - 1)`` for m frequencies when left out."""
    return _whole(x, n, axis, norm, inverse=True)


def hfft(x: Any, /, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Transform of a signal with Hermitian symmetry, given by its first half: real numbers."""
    return _whole(x, n, axis, norm, inverse=False)


def ihfft(x: Any, /, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse of :func:`hfft`."""
    return _half(x, n, axis, norm, inverse=True)


# -- several axes -------------------------------------------------------------------------


def fftn(x: Any, /, s: Sizes = None, axes: Sizes = None, norm: str = "backward") -> Any:
    """:func:`fft` along several axes."""
    return _complex_n(x, s, axes, norm, inverse=False)


def ifftn(x: Any, /, s: Sizes = None, axes: Sizes = None, norm: str = "backward") -> Any:
    """Inverse of :func:`fftn`."""
    return _complex_n(x, s, axes, norm, inverse=True)


def rfftn(x: Any, /, s: Sizes = None, axes: Sizes = None, norm: str = "backward") -> Any:
    """:func:`rfft` along the last of the axes, then :func:`fft` along the others."""
    x = as_array(x)
    sizes, places = _several(x, s, axes)
    half = rfft(x, sizes[-1], places[-1], norm)
    return _complex_n(half, sizes[:-1], places[:-1], norm, inverse=False)


def irfftn(x: Any, /, s: Sizes = None, axes: Sizes = None, norm: str = "backward") -> Any:
    """Inverse of :func:`rfftn`."""
    x = as_array(x)
    sizes, places = _several(x, s, axes)
    last = None if s is None else sizes[-1]
    whole = _complex_n(x, sizes[:-1], places[:-1], norm, inverse=True)
    return irfft(whole, last, places[-1], norm)


def fft2(x: Any, /, s: Sizes = None, axes: Sizes = PLANE, norm: str = "backward") -> Any:
    """:func:`fftn` along two axes."""
    return fftn(x, s, axes, norm)


def ifft2(x: Any, /, s: Sizes = None, axes: Sizes = PLANE, norm: str = "backward") -> Any:
    """:func:`ifftn` along two axes."""
    return ifftn(x, s, axes, norm)


def rfft2(x: Any, /, s: Sizes = None, axes: Sizes = PLANE, norm: str = "backward") -> Any:
    """:func:`rfftn` along two axes."""
    return rfftn(x, s, axes, norm)


def irfft2(x: Any, /, s: Sizes = None, axes: Sizes = PLANE, norm: str = "backward") -> Any:
    """:func:`irfftn` along two axes."""
    return irfftn(x, s, axes, norm)


# -- frequencies --------------------------------------------------------------------------


def fftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Frequencies of :func:`fft` of ``n`` samples at distance ``d``; a constant tensor."""
    return _frequencies(np.fft.fftfreq(n, d), dtype, device)


def rfftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Frequencies of :func:`rfft` of ``n`` samples at distance ``d``; a constant tensor."""
    return _frequencies(np.fft.rfftfreq(n, d), dtype, device)


def fftshift(x: Any, /, axes: Any = None) -> Any:
    """Move frequency 0 to the middle of the given axes (all by default)."""
    return _shift(x, axes, lambda n: n // 2)


def ifftshift(x: Any, /, axes: Any = None) -> Any:
    """Inverse of :func:`fftshift`."""
    return _shift(x, axes, lambda n: -(n // 2))


# -- what they are made of ----------------------------------------------------------------


def _complex(x: Any, n: int | None, axis: int, norm: str, inverse: bool) -> Any:
    x, axis = _along(x, axis)
    x = fourier.resize(x, (axis,), (_positive(x.shape[axis] if n is None else n),))
    return fourier.fft(x, axes=(axis,), norm=_norm(norm), inverse=inverse)


def _complex_n(x: Any, s: Sizes, axes: Sizes, norm: str, inverse: bool) -> Any:
    x = as_array(x)
    sizes, places = _several(x, s, axes)
    if not places:
        return x if x.dtype.kind == "c" else cast(x, dtype=np.result_type(x.dtype, np.complex64))
    if len(set(places)) < len(places):  # one after the other, the last first, as NumPy does
        for n, axis in zip(reversed(sizes), reversed(places), strict=True):
            x = _complex(x, n, axis, norm, inverse)
        return x
    x = fourier.resize(x, places, tuple(_positive(n) for n in sizes))
    return fourier.fft(x, axes=places, norm=_norm(norm), inverse=inverse)


def _half(x: Any, n: int | None, axis: int, norm: str, inverse: bool) -> Any:
    x, axis = _along(x, axis)
    if x.dtype.kind == "c":
        name = "ihfft" if inverse else "rfft"
        raise ShapeError(f"{name} transforms real numbers, not {x.dtype}; use fft or ifft")
    x = fourier.resize(x, (axis,), (_positive(x.shape[axis] if n is None else n),))
    return fourier.rfft(x, axis=axis, norm=_norm(norm), inverse=inverse)


def _whole(x: Any, n: int | None, axis: int, norm: str, inverse: bool) -> Any:
    x, axis = _along(x, axis)
    n = _positive(2 * (x.shape[axis] - 1) if n is None else n)
    x = fourier.resize(x, (axis,), (n // 2 + 1,))
    return fourier.hfft(x, n=n, axis=axis, norm=_norm(norm), inverse=inverse)


def _along(x: Any, axis: int) -> tuple[Any, int]:
    x = as_array(x)
    return x, normalize_axis_index(axis, len(x.shape))


def _several(x: Any, s: Sizes, axes: Sizes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Lengths and axes of a transform of several axes."""
    ndim = len(x.shape)
    if s is not None and len(s) > ndim and axes is None:
        raise ShapeError(f"fft: {len(s)} lengths for an array of shape {tuple(x.shape)}")
    if axes is None:
        axes = range(ndim) if s is None else range(ndim - len(s), ndim)
    places = tuple(normalize_axis_index(axis, ndim) for axis in axes)
    if s is None:
        return tuple(x.shape[axis] for axis in places), places
    if len(s) != len(places):
        raise ShapeError(f"fft: {len(s)} lengths for {len(places)} axes; give one for each")
    sizes = zip(s, places, strict=True)  # -1 stands for the length that the axis has
    return tuple(x.shape[axis] if n in (None, -1) else int(n) for n, axis in sizes), places


def _positive(n: int) -> int:
    if n < 1:
        raise ShapeError(f"fft: an axis of length {n} cannot be transformed; it must be at least 1")
    return int(n)


def _norm(norm: str | None) -> str:
    if norm not in (None, "backward", "ortho", "forward"):
        raise ShapeError(f"fft: norm is {norm!r}; choose 'backward', 'ortho' or 'forward'")
    return norm or "backward"


def _frequencies(values: Any, dtype: Any, device: Any) -> Tensor:
    values = values.astype(np.float64 if dtype is None else dtype, copy=False)
    return Tensor(get_backend("cpu" if device is None else str(device)).asarray(values))


def _shift(x: Any, axes: Any, by: Any) -> Any:
    x = as_array(x)
    if axes is None:
        axes = tuple(range(len(x.shape)))
    places = (axes,) if isinstance(axes, int) else tuple(axes)
    return roll(x, tuple(by(x.shape[axis]) for axis in places), places) if places else x
