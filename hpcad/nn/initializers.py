"""How parameters are drawn: functions of a random stream and a shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.backend import Stream

Initializer = Callable[[Stream, tuple[int, ...]], Any]


def zeros(_stream: Stream, shape: tuple[int, ...]) -> Any:
    """All zeros."""
    return np.zeros(shape)


def ones(_stream: Stream, shape: tuple[int, ...]) -> Any:
    """All ones."""
    return np.ones(shape)


def normal(std: float) -> Initializer:
    """Normal with mean 0 and standard deviation ``std``."""
    return lambda stream, shape: std * stream.normal(shape)


def he_normal(stream: Stream, shape: tuple[int, ...]) -> Any:
    """Normal with variance 2 / fan-in, for ReLU (He et al., arXiv:1502.01852)."""
    return math.sqrt(2.0 / _fan_in(shape)) * stream.normal(shape)


def glorot_uniform(stream: Stream, shape: tuple[int, ...]) -> Any:
    """Uniform with variance 2 / (fan-in + fan-out), for tanh (Glorot and Bengio, 2010)."""
    limit = math.sqrt(6.0 / (_fan_in(shape) + shape[-1]))
    return limit * (2.0 * stream.uniform(shape) - 1.0)


def _fan_in(shape: tuple[int, ...]) -> int:
    """Inputs of one unit; weights have the units on their last axis."""
    return max(1, math.prod(shape[:-1]))
