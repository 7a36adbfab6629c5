"""The strict device: NumPy storage that passes for as much of CuPy as hpcad uses. It is no GPU.

Device code takes a module, CuPy or this one. What would be wrong on a GPU, or slow, is refused here
with :class:`StrictDeviceError`, or makes NaNs:

- arrays are opaque: no implicit conversion, no host arrays in device work; functions, arguments
  and types that CuPy does not have are refused, and assignments whose answer a GPU leaves open;
- memory that is fresh or was freed is poisoned, and an address in freed memory is refused, also at
  the launch of a graph that was captured while it was there;
- work on two streams on the same bytes needs an event between, or the host in between;
- while a stream captures nothing runs; allocations (but from a private pool), copies to and from
  the host and synchronisation are refused;
- pinned memory must not be written over or freed before the copy from it is over, and what is
  copied to it arrives only when the host waits;
- synchronisations, copies, allocations and launches are counted (:data:`COUNTS`), and
  :func:`forbid_synchronisation` forbids the first.

Kernels and products that work on addresses go through :func:`enqueue`. Everything runs at once, in
the order in which it is given; so races show as errors, not as wrong numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend.strict import cuda, tables
from hpcad.backend.strict.answers import view_of
from hpcad.backend.strict.arrays import ndarray
from hpcad.backend.strict.chapters import Chapter
from hpcad.backend.strict.counts import COUNTS, Counts, forbid_synchronisation
from hpcad.backend.strict.creation import (
    array,
    asarray,
    ascontiguousarray,
    asfortranarray,
    asnumpy,
    empty,
    empty_like,
    from_dlpack,
)
from hpcad.backend.strict.errors import StrictDeviceError
from hpcad.backend.strict.pools import default_pool
from hpcad.backend.strict.work import enqueue, host_view

__all__ = [
    "COUNTS",
    "Counts",
    "StrictDeviceError",
    "array",
    "asarray",
    "ascontiguousarray",
    "asfortranarray",
    "asnumpy",
    "cuda",
    "empty",
    "empty_like",
    "enqueue",
    "forbid_synchronisation",
    "from_dlpack",
    "get_default_memory_pool",
    "host_view",
    "ndarray",
]

__version__ = f"strict device on NumPy {np.__version__}"

linalg = Chapter("linalg", np.linalg, tables.LACKING["linalg"])
fft = Chapter("fft", np.fft, tables.LACKING["fft"])


def get_default_memory_pool() -> Any:
    """The pool that arrays come from unless another allocator is set."""
    return default_pool


def __getattr__(name: str) -> Any:
    return _numpy.find(name)


class lib:  # noqa: N801
    """``lib.stride_tricks.as_strided``."""

    class stride_tricks:  # noqa: N801
        """The one function of it."""

        @staticmethod
        def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
            """A view with any shape and strides, which must stay within the memory."""
            raw = np.lib.stride_tricks.as_strided(x.raw, shape, strides)
            return view_of(x, raw)


_numpy = Chapter("numpy", np, tables.LACKING["numpy"])
