"""Products of device arrays as they come.

What was found out about shapes, strides and alignments is kept, so that the same product costs
a dictionary look-up the next time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.backend.cublaslt.checks import check_shapes
from hpcad.backend.cublaslt.context import context_of
from hpcad.backend.cublaslt.layout import TYPES, Arrangement, arrange, meta
from hpcad.backend.cublaslt.product import addresses, bind_product, bound_product
from hpcad.backend.cublaslt.settings import SETTINGS

MOST = 4096  # arrangements that are remembered

_known: dict[tuple, Arrangement | None] = {}


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
    dtype = np.result_type(a.dtype, b.dtype)
    if dtype.name not in TYPES or (out is not None and out.dtype.name not in TYPES):
        return None
    a, b = (x if x.dtype == dtype else x.astype(dtype) for x in (a, b))
    fresh = out is None
    if out is None:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out, beta = xp.empty((*batch, a.shape[-2], b.shape[-1]), dtype), 0.0
    check_shapes(a, b, out, "a product")
    if (fresh or not _touch(out, a, b)) and _in_place(xp, a, b, out, alpha, beta, bias):
        return out
    kept = out.dtype.name in TYPES[dtype.name][0]
    result = xp.empty(out.shape, out.dtype if kept else dtype)
    packed = xp.ascontiguousarray(a), xp.ascontiguousarray(b)
    if not _in_place(xp, *packed, result, alpha, 0.0, None):
        spread = _spread(xp, a, out.shape[:-2]), _spread(xp, b, out.shape[:-2])
        if not _in_place(xp, *spread, result, alpha, 0.0, None):
            return None
    _add_up(xp, out, result, beta, bias)
    return out


def _spread(xp: Any, x: Any, batch: tuple[int, ...]) -> Any:
    """A copy with one matrix per product, which is one regular batch."""
    return xp.ascontiguousarray(xp.broadcast_to(x, (*batch, *x.shape[-2:])))


def _in_place(xp: Any, a: Any, b: Any, c: Any, alpha: float, beta: float, bias: Any) -> bool:
    """Whether the library could be given the arrays as they are, and was."""
    if bias is not None and (bias.dtype != c.dtype or bias.shape != c.shape[-1:]):
        if not _in_place(xp, a, b, c, alpha, beta, None):
            return False
        xp.add(c, bias, out=c)
        return True
    if c.size == 0 or a.shape[-1] == 0:
        call = bind_product(xp, a, b, c, alpha=alpha, beta=beta, bias=bias)
        if call is not None:
            call()
        return call is not None
    found = _arrangement(a, b, c, beta != 0.0, bias)
    if found is None:
        return False
    pointers = addresses(found, a, b, c, bias)
    bound = bound_product(context_of(xp), found, pointers, (alpha, beta))
    if bound is not None:
        bound()
    return bound is not None


def _arrangement(a: Any, b: Any, c: Any, adds: bool, bias: Any) -> Arrangement | None:
    key = (meta(a), meta(b), meta(c), None if bias is None else meta(bias), adds, SETTINGS.tf32)
    if key not in _known:
        if len(_known) >= MOST:
            _known.clear()
        _known[key] = arrange(
            *key[:3], adds=adds, epilogue="" if bias is None else "bias", bias=key[3],
            tf32=SETTINGS.tf32,
        )  # fmt: skip
    return _known[key]


def _add_up(xp: Any, out: Any, result: Any, beta: float, bias: Any) -> None:
    """``out = result + beta * out (+ bias)`` by kernels of their own."""
    if beta == 0.0:
        out[...] = result
    else:
        if beta != 1.0:
            xp.multiply(out, beta, out=out)
        xp.add(out, result, out=out)
    if bias is not None:
        xp.add(out, bias, out=out)


def _touch(out: Any, *operands: Any) -> bool:
    """Whether the memory of ``out`` may be that of an operand."""
    first, last = _bounds(out)
    return any(first < end and start < last for start, end in map(_bounds, operands))


def _bounds(x: Any) -> tuple[int, int]:
    if math.prod(x.shape) == 0:
        return 0, 0
    steps = [stride * (extent - 1) for extent, stride in zip(x.shape, x.strides, strict=True)]
    start = x.data.ptr + sum(step for step in steps if step < 0)
    return start, x.data.ptr + sum(step for step in steps if step > 0) + x.itemsize
