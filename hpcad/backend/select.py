"""Which backend an array belongs to, and which backend a device name means."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from hpcad.backend.numpy_backend import NumpyBackend
from hpcad.backend.protocol import Array, Backend
from hpcad.errors import ConfigError

_NUMPY = NumpyBackend()


@cache
def _cupy() -> Backend:
    from hpcad.backend.cupy_backend import CupyBackend

    return CupyBackend()


def backend_of(array: Any) -> Backend:
    """Return the backend whose memory holds ``array`` (NumPy for scalars and lists)."""
    if type(array) is np.ndarray:
        return _NUMPY
    if type(array).__module__.partition(".")[0] == "cupy":
        return _cupy()
    content = getattr(array, "content", None)  # of a tensor in a program that is being captured
    return _NUMPY if content is None else backend_of(content)


def get_backend(device: str = "cpu") -> Backend:
    """Return the backend of a device.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}
        ``"auto"`` is the GPU when CuPy finds one.

    Raises
    ------
    DeviceError
        ``"gpu"`` where CuPy or a CUDA device is missing.
    """
    if device == "cpu":
        return _NUMPY
    if device == "gpu":
        return _cupy()
    if device == "auto":
        return _cupy() if _gpu_available() else _NUMPY
    raise ConfigError(f"unknown device {device!r}; expected 'cpu', 'gpu' or 'auto'")


def _gpu_available() -> bool:
    try:
        import cupy
    except ImportError:
        return False
    return bool(cupy.cuda.is_available())


def to_host(array: Array) -> np.ndarray:
    """Return ``array`` as a NumPy array, copied from the device if it lives there."""
    return backend_of(array).to_host(array)
