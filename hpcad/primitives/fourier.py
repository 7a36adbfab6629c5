"""Discrete Fourier transforms: linear, so their adjoints are transforms again.

The matrix of the DFT is symmetric, hence (without conjugates) its own adjoint. A transform of real
numbers keeps the first half of the spectrum, and its inverse completes it: they are adjoint to
each other up to factors of 2 for what stands for two frequencies. Lengths are changed by a
primitive of its own, :data:`resize`, before or after.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of

Shape = tuple[int, ...]
Norm = Literal["backward", "ortho", "forward"]


# -- lengths ------------------------------------------------------------------------------


def _resized(x: Shape, *, axes: Shape, sizes: Shape) -> Shape:
    shape = list(x)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    return tuple(shape)


def _resize(x: Any, *, axes: Shape, sizes: Shape) -> Any:
    shape = _resized(x.shape, axes=axes, sizes=sizes)
    kept = x[tuple(slice(min(n, m)) for n, m in zip(x.shape, shape, strict=True))]
    if kept.shape == shape:
        return kept
    out = backend_of(x).zeros(shape, x.dtype)
    out[tuple(map(slice, kept.shape))] = kept
    return out


resize_primitive = Primitive(
    "resize",  # cut at the end, or fill up with zeros
    _resize,
    _resized,
    [
        lambda g, _z, x, axes, sizes: resize_primitive(
            g, axes=axes, sizes=tuple(np.shape(x)[axis] for axis in axes)
        )
    ],
    jvp="linear",
)


def resize(x: Any, axes: Shape, sizes: Shape) -> Any:
    """Cut each axis at the end, or fill it up with zeros, to the given length."""
    if all(np.shape(x)[axis] == size for axis, size in zip(axes, sizes, strict=True)):
        return x
    return resize_primitive(x, axes=tuple(axes), sizes=tuple(sizes))


# -- complex to complex -------------------------------------------------------------------


def _fft(x: Any, *, axes: Shape, norm: Norm, inverse: bool) -> Any:
    if len(axes) == 1:
        return (np.fft.ifft if inverse else np.fft.fft)(x, axis=axes[0], norm=norm)
    return (np.fft.ifftn if inverse else np.fft.fftn)(x, axes=axes, norm=norm)


fft = Primitive(
    "fft",
    _fft,
    lambda x, **_: x,
    [lambda g, _z, _x, axes, norm, inverse: fft(g, axes=axes, norm=norm, inverse=inverse)],
    jvp="linear",
)


# -- real to the first half of the spectrum, and back -------------------------------------


def _weights(g: Any, axis: int, n: int, twice: float, once: float) -> Any:
    """``once`` for frequencies 0 and n / 2, ``twice`` for those that stand for two."""
    plain = value_of(g)
    kind = plain.real.dtype
    count = n // 2 + 1
    factors = backend_of(plain).xp.full(count, twice, kind)
    factors[0] = once
    if n % 2 == 0:
        factors[-1] = once
    shape = [1] * plain.ndim
    shape[axis] = count
    return factors.reshape(shape)


def _rfft(x: Any, *, axis: int, norm: Norm, inverse: bool) -> Any:
    return (np.fft.ihfft if inverse else np.fft.rfft)(x, axis=axis, norm=norm)


def _rfft_shape(x: Shape, *, axis: int, norm: Norm, inverse: bool) -> Shape:
    return _resized(x, axes=(axis,), sizes=(x[axis] // 2 + 1,))


def _rfft_vjp(g: Any, _z: Any, x: Any, axis: int, norm: Norm, inverse: bool) -> Any:
    n = np.shape(x)[axis]
    halved = g * _weights(g, axis, n, 0.5, 1.0)
    return hfft(halved, n=n, axis=axis, norm=norm, inverse=inverse)


def _hfft(x: Any, *, n: int, axis: int, norm: Norm, inverse: bool) -> Any:
    return (np.fft.irfft if inverse else np.fft.hfft)(x, n, axis=axis, norm=norm)


def _hfft_shape(x: Shape, *, n: int, axis: int, norm: Norm, inverse: bool) -> Shape:
    return _resized(x, axes=(axis,), sizes=(n,))


def _hfft_vjp(g: Any, _z: Any, _x: Any, n: int, axis: int, norm: Norm, inverse: bool) -> Any:
    half = rfft(g, axis=axis, norm=norm, inverse=inverse)
    return half * _weights(half, axis, n, 2.0, 1.0)


rfft = Primitive(
    "rfft",  # inverse: ihfft, the conjugate of rfft / n
    _rfft,
    _rfft_shape,
    [_rfft_vjp],
    jvp="linear",
)
hfft = Primitive(
    "hfft",  # of n // 2 + 1 numbers, to n real ones; inverse: irfft
    _hfft,
    _hfft_shape,
    [_hfft_vjp],
    jvp="linear",
)
