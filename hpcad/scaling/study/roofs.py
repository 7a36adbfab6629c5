"""What a rank can do at most, measured while all ranks do the same: the roofs of a roofline.

The roof of computing is a square matrix product by the library's own door to BLAS; that of memory
is the triad ``a = b + s c`` of STREAM (McCalpin 1995), with the three arrays counted that it moves.
Both are the fastest of a few repetitions, and the median over the ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.backend import Backend
from hpcad.parallel import World

_SIDE = {False: 768, True: 4096}  # of the matrices, on the host and on a device
_TRIAD_BYTES = 48 << 20  # of each array: beyond the caches of a core's share
_CHUNK = 1 << 14  # elements: a piece of the first array stays in the cache between two passes
_SECONDS = 0.15


def measure_roofs(world: World, backend: Backend, dtype: Any) -> tuple[float, float]:
    """Return floating-point operations and bytes per second of one rank; collective.

    Parameters
    ----------
    dtype
        In which the matrices are multiplied.
    """
    gemm, operations = _gemm(backend, np.dtype(dtype))
    triad, moved = _triad(backend)
    own = np.array([operations / _fastest(world, backend, gemm), 0.0])
    own[1] = moved / _fastest(world, backend, triad)
    every = np.array(world.communicator.gather_json(own.tolist(), "roofs"))
    peak, bandwidth = np.median(every, axis=0)
    return float(peak), float(bandwidth)


def _fastest(world: World, backend: Backend, work: Callable[[], None]) -> float:
    """The fewest seconds that some work took; all ranks begin it together."""
    work()
    backend.synchronize()
    world.communicator.barrier("roofs")
    found: list[float] = []
    while sum(found) < _SECONDS or len(found) < 3:
        started = time.perf_counter()
        work()
        backend.synchronize()
        found.append(time.perf_counter() - started)
    return min(found)


def _gemm(backend: Backend, dtype: np.dtype[Any]) -> tuple[Callable[[], None], float]:
    side = _SIDE[backend.on_device]
    a, b = (backend.asarray(np.full((side, side), value, dtype)) for value in (0.5, 0.25))
    out = backend.empty((side, side), dtype)
    return lambda: backend.gemm(a, b, out), 2.0 * side**3


def _triad(backend: Backend) -> tuple[Callable[[], None], float]:
    count = _TRIAD_BYTES // 8
    a, b, c = (backend.zeros((count,), np.float64) for _ in range(3))
    for array in (a, b, c):
        array[...] = 1.0  # memory that nobody has written is not there yet
    step = count if backend.on_device else _CHUNK
    pieces = [
        (a[at : at + step], b[at : at + step], c[at : at + step]) for at in range(0, count, step)
    ]
    xp = backend.xp

    def triad() -> None:
        for to, x, y in pieces:
            xp.multiply(y, 3.0, out=to)
            xp.add(to, x, out=to)

    return triad, 3.0 * a.nbytes
