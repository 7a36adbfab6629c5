"""Moving batches to a GPU while it computes: pinned memory and a stream of its own.

Not yet proven on a GPU: the order of the calls is tested against a stand-in only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from hpcad.backend.protocol import Array, Backend


class Transfer:
    """Copies arrays from pinned host memory to the device, on a stream beside the default one.

    The threads that read batches call :meth:`copy`, so that they wait for copies and the thread
    that trains does not. Computation must use CuPy's default stream, as all of hpcad does.

    Parameters
    ----------
    xp : module
        CuPy.
    capturing : Lock, optional
        Held while another thread captures a CUDA graph; see
        :class:`~hpcad.backend.device_backend.DeviceBackend`.
    """

    def __init__(self, xp: ModuleType, capturing: Any = None) -> None:
        self.xp = xp
        self._capturing = capturing or contextlib.nullcontext()
        self._stream = xp.cuda.Stream(non_blocking=True)

    def allocate(self, nbytes: int) -> np.ndarray:
        """Pinned host memory: an array of uint8, shape ``(nbytes,)``, which a GPU copies by DMA."""
        # A request for nothing is refused by CUDA.
        memory = self.xp.cuda.alloc_pinned_memory(max(nbytes, 1))
        return np.frombuffer(memory, np.uint8, nbytes)

    def copy(self, fields: Mapping[str, np.ndarray]) -> dict[str, Array]:
        """The same arrays on the device; when it returns, the host's may be overwritten."""
        cuda = self.xp.cuda
        device = {name: self.xp.empty(array.shape, array.dtype) for name, array in fields.items()}
        # The pool may have given memory that earlier kernels still read: they come first.
        with self._capturing:
            self._stream.wait_event(cuda.get_current_stream().record())
        for name, array in fields.items():
            device[name].set(np.ascontiguousarray(array), stream=self._stream)
        self._stream.record().synchronize()
        return device


def transfer(backend: Backend | Any) -> Transfer | None:
    """How batches get to a backend's device; None where they are there already (on a CPU)."""
    if backend is None or not backend.on_device:
        return None
    return Transfer(backend.xp, getattr(backend, "capturing", None))
