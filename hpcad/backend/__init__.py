"""Where numbers live: one protocol, implemented for NumPy, CuPy and the strict device.

Values of primitives are written with NumPy functions; on device arrays these dispatch to the device
through ``__array_ufunc__`` and ``__array_function__``. What those protocols cannot express
(creation, GEMM, scatter, device transfers, memory) goes through a :class:`Backend`.
"""

from hpcad.backend.arena import Arena
from hpcad.backend.flops import counted_flops
from hpcad.backend.protocol import Array, Backend
from hpcad.backend.random import Stream
from hpcad.backend.select import backend_of, get_backend, is_device_array, scipy_of, to_host

__all__ = [
    "Arena",
    "Array",
    "Backend",
    "Stream",
    "backend_of",
    "counted_flops",
    "get_backend",
    "is_device_array",
    "scipy_of",
    "to_host",
]
