"""The thread pool of compiled code: how many threads it may use.

There is one pool per process (``threads.c``), shared by every compiled library. As a rule it has as
many threads as BLAS, with which it takes turns.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from hpcad.backend.native.build import build
from hpcad.backend.native.compiler import HEADERS

_chosen: int | None = None
_pool: ctypes.CDLL | None = None
_blas: Any | None = None  # what threadpoolctl knows of the library


def pool() -> ctypes.CDLL | None:
    """The library of the pool; ``None`` without a C compiler."""
    global _pool
    if _pool is None:
        _pool = build((HEADERS / "threads.c").read_text(), "threads")
        if _pool is not None:
            _pool.hp_set_threads(threads())
    return _pool


def set_threads(count: int) -> None:
    """Let compiled code run on ``count`` threads, the calling one included."""
    global _chosen
    _chosen = max(1, int(count))
    if _pool is not None:
        _pool.hp_set_threads(_chosen)


def threads() -> int:
    """How many threads compiled code may use.

    What :func:`set_threads` was told, else what BLAS uses, else ``OMP_NUM_THREADS``, else 1.
    """
    return _blas_threads() if _chosen is None else _chosen


def _blas_threads() -> int:
    global _blas
    if _blas is None:
        _blas = _find_blas()
    if _blas is not None:
        return max(1, int(_blas.num_threads))
    wish = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(wish) if wish.isdigit() and int(wish) > 0 else 1


def _find_blas() -> Any | None:
    """The library that steps run on. To find it takes milliseconds, to ask it does not."""
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    # SciPy brings a BLAS of its own.
    return min(found, key=lambda library: "numpy" not in library.filepath, default=None)


def connect(library: ctypes.CDLL) -> None:
    """Point a library that includes ``threads.h`` at the pool; others are left as they are."""
    entry: Any = getattr(library, "hp_connect", None)
    runtime = pool()
    if entry is not None and runtime is not None:
        address = ctypes.c_void_p
        run, count = runtime.hp_parallel_for, runtime.hp_get_threads
        entry(ctypes.cast(run, address), ctypes.cast(count, address))
