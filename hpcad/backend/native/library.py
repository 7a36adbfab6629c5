"""Loading of compiled code."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

from hpcad.backend.native.build import build
from hpcad.backend.native.threads import connect


def load(source: str, name: str, include: Sequence[Path] = ()) -> ctypes.CDLL | None:
    """Compile C source, or find it in the cache, load it, and connect it to the thread pool.

    Parameters
    ----------
    source : str
        C11; it may include ``vectormath.h`` and, to share the pool, ``threads.h``.
    name : str
        Begins the names of the files in the cache.
    include : sequence of Path
        More directories with headers.

    Returns
    -------
    ctypes.CDLL or None
        ``None`` where there is no compiler, or it refused (the log says why): compute with NumPy.
    """
    library = build(source, name, include)
    if library is not None:
        connect(library)
    return library
