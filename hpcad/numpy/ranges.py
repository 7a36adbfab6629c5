"""Numbers at equal distances or in equal ratios. They differentiate in their ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.conversion import device_backend
from hpcad.autodiff.tensor import Tensor, tensor, value_of
from hpcad.numpy.dtypes import astype
from hpcad.primitives.indexing import is_tracked

__all__ = ["arange", "geomspace", "linspace", "logspace"]


def arange(
    start: Any, /, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: Any = None
) -> Tensor:
    """Return numbers from ``start`` (0 if only one is given) to before ``stop``."""
    low, high = (0, start) if stop is None else (start, stop)
    low, high, step = (value_of(_constant(x, "arange")) for x in (low, high, step))
    return Tensor(device_backend(device).xp.arange(low, high, step, dtype=dtype))


def _constant(x: Any, name: str) -> Any:
    if is_tracked(x):
        raise TypeError(
            f"the number of elements of {name} cannot depend on a tensor that is differentiated; "
            "use start + step * arange(n)"
        )
    return x


def linspace(
    start: Any,
    stop: Any,
    /,
    num: int = 50,
    endpoint: Any = True,
    *,
    dtype: Any = None,
    device: Any = None,
) -> Any:
    """Return ``num`` evenly spaced numbers; differentiable in both ends.

    Parameters
    ----------
    start, stop : numbers or arrays
    num : int
    endpoint : bool
        Whether ``stop`` is the last one.
    dtype : dtype, optional
    """
    if is_tracked(start) or is_tracked(stop):
        parts = num - 1 if endpoint else num
        weight = np.arange(num) / max(parts, 1)
        weight = weight.reshape(num, *(1,) * max(np.ndim(start), np.ndim(stop)))
        points = tensor(start * (1 - weight) + stop * weight)
        return points if dtype is None else astype(points, dtype, copy=False)
    low, high = value_of(start), value_of(stop)
    return Tensor(device_backend(device).xp.linspace(low, high, num, endpoint, dtype=dtype))


def logspace(
    start: Any, stop: Any, /, num: int = 50, endpoint: Any = True, base: Any = 10.0
) -> Any:
    """Return ``base`` to the powers of :func:`linspace`; differentiable in both ends and base."""
    if not isinstance(base, Tensor):
        base = np.asarray(base, np.float64)
    return base ** linspace(start, stop, num, endpoint)


def geomspace(start: Any, stop: Any, /, num: int = 50, endpoint: Any = True) -> Any:
    """Return ``num`` numbers in constant ratio; differentiable in both ends.

    Both ends have the same sign.
    """
    if is_tracked(start) or is_tracked(stop):
        ratio = stop / start
        return start * ratio ** linspace(0.0, 1.0, num, endpoint)
    return Tensor(np.geomspace(value_of(start), value_of(stop), num, endpoint))
