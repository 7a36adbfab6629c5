"""From a product and addresses to a call without arguments."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

from hpcad.backend.gemm import plain
from hpcad.backend.gemm.routine import AXES, Way, routine, told
from hpcad.backend.gemm.spec import Gemm
from hpcad.backend.gemm.ways import usual_way

Call = Callable[[], object]


def bind(spec: Gemm, a: int, b: int, c: int, tune: bool = False) -> Call:
    """Prepare ``c = alpha * op(a) @ op(b) + beta * c`` at fixed addresses.

    The call allocates nothing, converts nothing and does not hold the interpreter lock. It does not
    count operations: whoever replays many of them asks ``flops.counting()`` once and calls
    :meth:`Gemm.count` for each.

    Parameters
    ----------
    a, b, c : int
        Addresses of the first elements; the memory must outlive the call, and ``c`` must not
        overlap the operands.
    tune : bool
        Use the fastest way there is on this machine (:func:`hpcad.backend.gemm.best_way`), which
        is measured when this product is first seen. Otherwise NumPy's own library is called as
        ``np.matmul`` calls it, with bitwise the same result where ``alpha`` is 1 and ``beta`` 0.

    Returns
    -------
    callable
        Without arguments.
    """
    if tune:
        from hpcad.backend.gemm.tuning import best_way

        spec = spec.folded()
        return bound(spec, best_way(spec), a, b, c)
    return bound(spec, usual_way(spec), a, b, c)


def bound(spec: Gemm, way: Way | None, a: int, b: int, c: int) -> Call:
    """The call, one way (``None``: ``np.matmul``)."""
    compiled = routine()
    if way is None or compiled is None or len(spec.batch) > AXES:
        return plain.bound(spec, None if way is None else way.library, a, b, c)
    return functools.partial(compiled, told(spec, way), *map(ctypes.c_void_p, (a, b, c)))
