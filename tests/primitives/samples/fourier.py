"""Samples of the Fourier transforms: even and odd lengths, all ways to divide by the length."""

from __future__ import annotations

import numpy as np

rng = np.random.default_rng(43)


def real(*shape):
    return rng.standard_normal(shape)


def plane(*shape):
    return real(*shape) + 1j * real(*shape)


WAYS = [("backward", False), ("ortho", False), ("forward", True), ("backward", True)]


def _ways(**params):
    return [{**params, "norm": norm, "inverse": inverse} for norm, inverse in WAYS]


SAMPLES = {
    "resize": [
        ((make(4, 3),), {"axes": axes, "sizes": sizes})
        for make in (real, plane)
        for axes, sizes in [((0,), (6,)), ((1,), (2,)), ((0, 1), (2, 5)), ((1,), (0,))]
    ],
    "fft": [
        *[((plane(3, n),), way) for n in (4, 5) for way in _ways(axes=(1,))],
        *[((plane(2, 3, 4),), way) for way in _ways(axes=(0, 2))],
        ((real(4, 2),), _ways(axes=(0,))[0]),
    ],
    "rfft": [((real(n, 2),), way) for n in (1, 4, 5) for way in _ways(axis=0)],
    "hfft": [
        *[((plane(n // 2 + 1, 2),), way) for n in (1, 2, 4, 5) for way in _ways(axis=0, n=n)],
        ((real(3, 2),), _ways(axis=0, n=4)[0]),
    ],
}


def _matrix(n, norm, inverse):
    """The DFT as a matrix; ``inverse`` turns the other way round."""
    k = np.arange(n)
    exponent = (2j if inverse else -2j) * np.pi / n
    divided = {"backward": inverse, "ortho": 0.5, "forward": not inverse}[norm]
    return np.exp(exponent * np.outer(k, k)) / n ** float(divided)


def _fft(x, axes, norm, inverse):
    for axis in axes:
        f = _matrix(x.shape[axis], norm, inverse)
        x = np.moveaxis(np.tensordot(f, x, ((1,), (axis,))), 0, axis)
    return x


def _rfft(x, axis, norm, inverse):
    return np.take(_fft(x, (axis,), norm, inverse), np.arange(x.shape[axis] // 2 + 1), axis)


def _hfft(x, n, axis, norm, inverse):
    x = np.moveaxis(x, axis, 0).astype(complex)
    whole = np.zeros((n, *x.shape[1:]), complex)
    whole[: len(x)] = x
    whole[0] = x[0].real
    if n % 2 == 0:
        whole[n // 2] = x[n // 2].real
    for k in range(n // 2 + 1, n):
        whole[k] = x[n - k].conj()
    return np.moveaxis(_fft(whole, (0,), norm, inverse).real, 0, axis)


REFERENCES = {"fft": _fft, "rfft": _rfft, "hfft": _hfft}
