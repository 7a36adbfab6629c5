"""Products of arrays as they come, with factors: ``c = alpha * a @ b + beta * c`` in place.

What is found out about shapes and strides is kept, so that the same product costs a dictionary
look-up the next time.
"""

from __future__ import annotations

import ctypes

import numpy as np

from hpcad.backend.gemm import plain
from hpcad.backend.gemm.routine import AXES, routine, told
from hpcad.backend.gemm.spec import Gemm
from hpcad.backend.gemm.views import address, describe
from hpcad.backend.gemm.ways import usual_way

MOST = 4096  # products that are remembered

_known: dict[tuple, plain.Addressed | None] = {}


def multiply(a: np.ndarray, b: np.ndarray, c: np.ndarray, alpha: complex, beta: complex) -> bool:
    """Compute the product without temporaries, with NumPy's own BLAS.

    Parameters
    ----------
    a : array, shape (..., m, k)
    b : array, shape (..., k, n)
    c : array, shape (..., m, n)

    Returns
    -------
    bool
        ``False``: nothing was done, because BLAS cannot be given these arrays as they are.
    """
    key = (
        a.shape, a.strides, a.dtype, b.shape, b.strides, b.dtype, c.shape, c.strides, c.dtype,
        alpha, beta,
    )  # fmt: skip
    if key not in _known:
        if len(_known) >= MOST:
            _known.clear()
        _known[key] = _prepared(a, b, c, alpha, beta)
    call = _known[key]
    if call is None or np.may_share_memory(c, a) or np.may_share_memory(c, b):
        return False
    call(address(a), address(b), address(c))
    return True


def _prepared(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, alpha: complex, beta: complex
) -> plain.Addressed | None:
    """A function of the addresses of ``a``, ``b`` and ``c``."""
    product = describe(a, b, c, alpha, beta)
    if product is None or not c.flags.writeable or not all(x.flags.aligned for x in (a, b, c)):
        return None
    addressed = _addressed(product.spec)
    if addressed is None or product.a == address(a):
        return addressed
    return lambda a, b, c: addressed(b, a, c)  # c lies column by column


def _addressed(spec: Gemm) -> plain.Addressed | None:
    """One product needs no compiled code; a loop over many in Python costs more than it saves."""
    way = usual_way(spec)
    if way is None or len(spec.batch) > AXES or 0 in (spec.m, spec.n, spec.items):
        return None
    if spec.items == 1:
        return plain.addressed(spec, way.library)
    compiled = routine()
    if compiled is None:
        return None
    reference, pointer = told(spec, way), ctypes.c_void_p
    return lambda a, b, c: compiled(reference, pointer(a), pointer(b), pointer(c))
