"""Products of device arrays as they come.

What was found out about shapes, strides and alignments is kept, so that the same product costs
a dictionary look-up the next time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend.cublaslt.checks import check_shapes
from hpcad.backend.cublaslt.enums import type_name
from hpcad.backend.cublaslt.layout import TYPES
from hpcad.backend.cublaslt.prepared import Prepared, prepared
from hpcad.backend.cublaslt.product import bind_product


def multiply(
    xp: Any,
    a: Any,
    b: Any,
    out: Any = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: Any = None,
) -> Any:
    """``alpha * a @ b + beta * out (+ bias)`` on the current stream. Not yet run on a GPU.

    Parameters
    ----------
    xp : module
        ``cupy``, or the strict device.
    a : device array, shape (..., m, k)
    b : device array, shape (..., k, n)
        Types are promoted as NumPy does. What cuBLASLt cannot be given as it lies is copied.
    out : device array, shape (..., m, n), optional
        Written in place.
    bias : device array, shape (n,), optional

    Returns
    -------
    device array or None
        ``out``, or a new one. ``None``, and nothing is done, for types that cuBLASLt does not
        multiply: integers, bool, complex numbers.

    Raises
    ------
    ShapeError
        Shapes that do not fit.
    """
    dtype = a.dtype if a.dtype == b.dtype else np.result_type(a.dtype, b.dtype)
    if type_name(dtype) not in TYPES or (out is not None and type_name(out.dtype) not in TYPES):
        return None
    if out is None:
        out, beta = _fresh(xp, a, b, dtype), 0.0
    call = prepared(xp, a, b, out, beta != 0.0, bias)
    if call is not None and call.run(a, b, out, alpha, beta, bias):
        return out
    if bias is not None:  # of another type, or beside columns
        call = prepared(xp, a, b, out, beta != 0.0, None)
        if call is not None and call.run(a, b, out, alpha, beta, None):
            xp.add(out, bias, out=out)
            return out
    return out if _in_steps(xp, a, b, out, alpha, beta, bias, dtype) else None


def _fresh(xp: Any, a: Any, b: Any, dtype: Any) -> Any:
    batch = a.shape[:-2]
    if batch != b.shape[:-2]:
        batch = np.broadcast_shapes(batch, b.shape[:-2])
    return xp.empty((*batch, a.shape[-2], b.shape[-1]), dtype)


def _in_steps(
    xp: Any, a: Any, b: Any, out: Any, alpha: float, beta: float, bias: Any, dtype: Any
) -> bool:
    """With copies, and what is added, by kernels of their own; whether it could be done."""
    check_shapes(a, b, out, "a product")
    if out.size == 0 or a.shape[-1] == 0:
        nothing = bind_product(xp, a, b, out, beta=beta)
        if nothing is not None:
            nothing()
        beta, result = 1.0, None
    else:
        kept = type_name(out.dtype) in TYPES[type_name(dtype)][0]
        result = xp.empty(out.shape, out.dtype if kept else dtype)
        a, b = (x if x.dtype == dtype else x.astype(dtype) for x in (a, b))
        call = _copied(xp, a, b, result)
        if call is None:
            return False
        call[0].run(*call[1:], result, alpha, 0.0, None)
    _add_up(xp, out, result, beta, bias)
    return True


def _copied(xp: Any, a: Any, b: Any, result: Any) -> tuple[Prepared, Any, Any] | None:
    """The product of packed copies; if need be with one matrix each per product."""
    batch = result.shape[:-2]
    packed = xp.ascontiguousarray(a), xp.ascontiguousarray(b)
    call = prepared(xp, *packed, result, False, None)
    if call is None:
        spread = (xp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
        a, b = (xp.ascontiguousarray(x) for x in spread)
        packed, call = (a, b), prepared(xp, a, b, result, False, None)
    return None if call is None else (call, *packed)


def _add_up(xp: Any, out: Any, result: Any, beta: float, bias: Any) -> None:
    """``out = result + beta * out (+ bias)``."""
    if result is not None and beta == 0.0:
        out[...] = result
    elif result is not None:
        if beta != 1.0:
            xp.multiply(out, beta, out=out)
        xp.add(out, result, out=out)
    if bias is not None:
        xp.add(out, bias, out=out)
