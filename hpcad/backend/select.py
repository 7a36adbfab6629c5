"""Which backend an array belongs to, and which backend a device name means."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from hpcad.backend.numpy_backend import NumpyBackend
from hpcad.backend.protocol import Array, Backend
from hpcad.errors import ConfigError

_NUMPY = NumpyBackend()


_STRICT = "hpcad.backend.strict"


@cache
def _cupy() -> Backend:
    from hpcad.backend.device_backend import DeviceBackend, import_cupy

    return DeviceBackend(import_cupy(), "cupy")


@cache
def _strict() -> Backend:
    from hpcad.backend.device_backend import DeviceBackend

    return DeviceBackend(import_module(_STRICT), "strict")


def is_device_array(array: Any) -> bool:
    """Whether it is an array of CuPy's or of the strict device's, or a device object of theirs."""
    module = type(array).__module__
    return module.partition(".")[0] == "cupy" or module.startswith(_STRICT)


def backend_of(array: Any) -> Backend:
    """Return the backend whose memory holds ``array`` (NumPy for scalars and lists)."""
    if type(array) is np.ndarray:
        return _NUMPY
    if is_device_array(array):
        return _strict() if type(array).__module__.startswith(_STRICT) else _cupy()
    content = getattr(array, "content", None)  # of a tensor in a program that is being captured
    return _NUMPY if content is None else backend_of(content)


def get_backend(device: str = "cpu") -> Backend:
    """Return the backend of a device.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto", "strict"}
        ``"auto"`` is the GPU when CuPy finds one. ``"strict"`` is no GPU: NumPy computes, and what
        would be wrong on a GPU is refused (:mod:`hpcad.backend.strict`).

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
    if device == "strict":
        return _strict()
    raise ConfigError(f"unknown device {device!r}; expected 'cpu', 'gpu', 'auto' or 'strict'")


def scipy_of(array: Any, chapter: str) -> ModuleType:
    """SciPy's ``special`` or ``linalg`` for the memory that an array lies in.

    It takes longer to import than all of hpcad.
    """
    packages = {"numpy": "scipy", "cupy": "cupyx.scipy", "strict": f"{_STRICT}.scipy"}
    return import_module(f"{packages[backend_of(array).name]}.{chapter}")


def _gpu_available() -> bool:
    try:
        import cupy
    except ImportError:
        return False
    return bool(cupy.cuda.is_available())


def to_host(array: Array) -> np.ndarray:
    """Return ``array`` as a NumPy array, copied from the device if it lives there."""
    return backend_of(array).to_host(array)
