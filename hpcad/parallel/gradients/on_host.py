"""Collectives of host memory on arrays that may lie on a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def on_host(array: Any, action: Callable[[np.ndarray], Any]) -> None:
    """Let ``action`` change the array, or a host copy of it that is then copied back."""
    if isinstance(array, np.ndarray):
        action(array)
        return
    from hpcad.backend import to_host

    host = to_host(array)
    action(host)
    array.set(host)  # a CuPy array
