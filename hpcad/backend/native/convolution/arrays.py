"""Convolutions of plain NumPy arrays by the compiled routines, where that pays.

Every function answers ``None`` (``False``) where it does not: without a C compiler, for other
dtypes, and for little work, for which nothing shall be compiled. The caller then uses NumPy.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from hpcad.backend import flops
from hpcad.backend.native.convolution.geometry import Pair
from hpcad.backend.native.convolution.library import library
from hpcad.backend.native.convolution.plan import ALIGNMENT
from hpcad.backend.native.convolution.routines import (
    ConvForward,
    ConvInput,
    Convolution,
    ConvWeight,
)

ENOUGH = 1 << 22  # floating-point operations; NumPy needs about a tenth of a millisecond for them
FEW = 2  # output channels: vectors are over them, so one or two leave most lanes empty


def forward(x: Any, w: Any, b: Any, stride: Pair, padding: Pair) -> np.ndarray | None:
    """``conv(x, w) + b``, or ``None``."""
    operands = [x, w] if b is None else [x, w, b]
    if (dtype := _dtype(*operands)) is None:
        return None
    routine = ConvForward(x.shape, w.shape, stride, padding, dtype)
    if (b is not None and b.shape != w.shape[3:]) or w.shape[3] <= FEW or not _pays(routine):
        return None
    out = np.empty(routine.out, x.dtype)
    x, w, *bias = map(np.ascontiguousarray, operands)
    bias_at = _address(bias[0]) if bias else 0
    routine.bind(_address(x), _address(w), _address(out), _scratch(routine), bias_at)()
    return out


def adjoint(g: Any, w: Any, size: Pair, stride: Pair, padding: Pair) -> np.ndarray | None:
    """The adjoint in images of that size, or ``None``."""
    if (dtype := _dtype(g, w)) is None:
        return None
    routine = ConvInput((g.shape[0], *size, w.shape[2]), w.shape, stride, padding, dtype)
    if g.shape != routine.out or w.shape[2] < FEW or not _pays(routine):
        return None
    out = np.empty(routine.images, g.dtype)
    g, w = np.ascontiguousarray(g), np.ascontiguousarray(w)
    routine.bind(_address(g), _address(w), _address(out), _scratch(routine))()
    return out


def add_weight(out: Any, beta: float, g: Any, x: Any, stride: Pair, padding: Pair) -> bool:
    """Make ``out`` ``beta * out`` plus the adjoint in the weight; whether that was done."""
    if (dtype := _dtype(out, g, x)) is None or not out.flags.c_contiguous or beta not in (0, 1):
        return False
    routine = ConvWeight(x.shape, out.shape, stride, padding, dtype)
    if g.shape != routine.out or out.shape[3] <= FEW or not _pays(routine):
        return False
    x, g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    routine.bind(_address(x), _address(g), _address(out), _scratch(routine), beta)()
    return True


def _dtype(*arrays: Any) -> str | None:
    """That of all arrays, if they are NumPy's and there may be routines for it."""
    dtype = arrays[0].dtype
    if not all(type(a) is np.ndarray and a.dtype == dtype for a in arrays) or not dtype.isnative:
        return None
    return dtype.name if dtype.name in ("float32", "float64") else None


def _pays(routine: Convolution) -> bool:
    if routine.flops < ENOUGH or library(routine.dtype) is None:
        return False
    if flops.counting():
        n, rows, columns, k = routine.out
        flops.count_gemm(n * rows * columns, k, math.prod(routine.weight[:3]))
    return True


def _address(array: np.ndarray) -> int:
    return array.ctypes.data


class _Space(threading.local):
    """Scratch memory of a thread, kept between calls."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)


_space = _Space()


def _scratch(routine: Convolution) -> int:
    wanted = routine.scratch + ALIGNMENT
    if _space.memory.size < wanted:
        _space.memory = np.empty(wanted, np.uint8)
    start = _address(_space.memory)
    return start + -start % ALIGNMENT
