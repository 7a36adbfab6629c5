"""Two products with a mask between them."""

from __future__ import annotations

import numpy as np

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.cublaslt.enums import mask_shape, numpy_type

from .arrays import host, tolerance, wide

ROWS, DEPTH = 5, 6


def operands(xp, types, columns):
    """Two products, ``c = relu(a b + bias)`` and ``d = (g w) [c > 0]``, on the device."""
    small, result = map(numpy_type, types)
    rng = np.random.default_rng(columns)
    draw = lambda dtype, *shape: rng.standard_normal(shape).astype(dtype)  # noqa: E731
    arrays = {
        "a": draw(small, ROWS, DEPTH), "b": draw(small, DEPTH, columns),
        "g": draw(small, ROWS, DEPTH), "w": draw(small, DEPTH, columns),
        "bias": draw(result, columns),
    }  # fmt: skip
    device = {name: xp.asarray(x) for name, x in arrays.items()}
    device["mask"] = xp.empty(mask_shape(ROWS, columns), np.uint8)
    for name in ("c", "d"):
        device[name] = xp.empty((ROWS, columns), result)
    return {name: wide(x) for name, x in arrays.items()}, device


def both(xp, on, bgrad=None):
    """The two products, bound."""
    forward = bind_product(
        xp, on["a"], on["b"], on["c"], epilogue="relu_aux_bias", bias=on["bias"], aux=on["mask"]
    )
    end = "drelu" if bgrad is None else "drelu_bgrad"
    back = bind_product(xp, on["g"], on["w"], on["d"], epilogue=end, bias=bgrad, aux=on["mask"])
    return forward, back


def check(xp, types, columns):
    """Call both; they must do what NumPy does."""
    known, on = operands(xp, types, columns)
    bgrad = xp.empty(columns, on["c"].dtype)
    for call in both(xp, on, bgrad):
        call()
    x = known["a"] @ known["b"] + known["bias"]
    wanted = np.where(x > 0, known["g"] @ known["w"], 0)
    near = tolerance(types[1]) * (1 + DEPTH)
    clear = np.abs(x) > near  # the sign of the others is a matter of rounding
    np.testing.assert_allclose(wide(host(xp, on["c"])), np.maximum(x, 0), rtol=near, atol=near)
    found = wide(host(xp, on["d"]))
    np.testing.assert_allclose(found[clear], wanted[clear], rtol=near, atol=near)
    if clear.all():
        total = ROWS * near
        np.testing.assert_allclose(wide(host(xp, bgrad)), wanted.sum(0), rtol=total, atol=total)
