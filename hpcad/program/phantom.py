"""Phantoms: device arrays as NumPy sees them, by address, shape and strides.

Whoever plans memory, lowers kernels or binds products works with NumPy arrays and asks them where
they lie. A phantom answers with an address of the device. Its elements are nobody's to read.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


def phantom_bytes(address: int, nbytes: int) -> np.ndarray:
    """Return ``nbytes`` bytes at an address of the device, shape ``(nbytes,)``."""
    if nbytes == 0:
        return np.empty(0, np.uint8)
    memory: Any = (ctypes.c_uint8 * nbytes).from_address(address)
    return np.ndarray((nbytes,), np.uint8, buffer=memory)


def phantom_of(array: Any) -> np.ndarray:
    """Return a device array, whose strides must not be negative, as NumPy sees it.

    Parameters
    ----------
    array : device array
        It must outlive the phantom.
    """
    if array.size == 0:
        return np.empty(array.shape, array.dtype)
    steps = zip(array.shape, array.strides, strict=True)
    span = array.itemsize + sum((n - 1) * stride for n, stride in steps)
    memory = (ctypes.c_uint8 * span).from_address(array.data.ptr)
    return np.ndarray(array.shape, array.dtype, buffer=memory, strides=array.strides)


def address_of(phantom: np.ndarray) -> int:
    """Return the address of the first element."""
    return phantom.__array_interface__["data"][0]
