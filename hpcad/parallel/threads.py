"""How many BLAS threads each rank may use.

BLAS libraries start one thread per core of the machine; with several ranks on a node they would
fight for the cores. Each rank gets its fair share of the cores it may run on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence

_USER_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def available_cores() -> list[int]:
    """Return the cores this process may run on (the launcher may have bound it to a few)."""
    return sorted(os.sched_getaffinity(0))


def fair_share(mine: Iterable[int], on_this_node: Sequence[Iterable[int]]) -> int:
    """Return how many threads a rank may run, at least 1.

    Parameters
    ----------
    mine : iterable of int
        Cores this rank may run on.
    on_this_node : sequence
        The same for every rank of the node, this one included. A core that k ranks may use
        counts 1/k, so unbound ranks divide the node, and bound ranks keep what is theirs.
    """
    masks = [set(mask) for mask in on_this_node]
    share = sum(1.0 / max(1, sum(core in mask for mask in masks)) for core in mine)
    return max(1, math.floor(share + 1e-9))


def limit_blas(count: int, environ: Mapping[str, str]) -> int | None:
    """Let the loaded BLAS libraries use ``count`` threads, unless the user has decided.

    Compiled kernels take turns with BLAS and get as many.

    Returns
    -------
    int or None
        ``count`` if it was set, ``None`` where an ``*_NUM_THREADS`` variable of the user rules.
    """
    if any(environ.get(variable) for variable in _USER_SETTINGS):
        return None
    from threadpoolctl import threadpool_limits

    from hpcad.backend.native.threads import set_threads

    threadpool_limits(count, user_api="blas")
    set_threads(count)
    return count
