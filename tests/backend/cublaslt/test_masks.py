"""ReLU with a mask of bits, and the product behind it that reads the mask."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.cublaslt.enums import mask_shape, numpy_type
from hpcad.backend.cublaslt.product import BoundProduct
from hpcad.backend.cublaslt.tuning import fastest
from hpcad.errors import ShapeError

from .arrays import TYPES, host, tolerance, wide

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


@pytest.mark.parametrize("columns", [1, 7, 16, 128, 130])
@pytest.mark.parametrize("types", TYPES, ids="-".join)
def test_the_mask_of_one_product_is_read_by_another(xp, types, columns):
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


def test_without_a_bias(xp):
    known, on = operands(xp, ("float32", "float32"), 16)
    bind_product(xp, on["a"], on["b"], on["c"], epilogue="relu_aux", aux=on["mask"])()
    both(xp, on)[1]()
    x = known["a"] @ known["b"]
    np.testing.assert_allclose(host(xp, on["c"]), np.maximum(x, 0), rtol=1e-4, atol=1e-4)
    wanted = np.where(x > 0, known["g"] @ known["w"], 0)
    np.testing.assert_allclose(host(xp, on["d"]), wanted, rtol=1e-4, atol=1e-4)


def test_the_masked_product_can_be_measured(xp):
    _, on = operands(xp, ("float32", "float32"), 130)
    for bound in both(xp, on):
        assert isinstance(bound, BoundProduct)
        _, seconds = fastest(bound.plan, lambda run: (run(), 1.0)[1])
        assert seconds == 1.0


def test_masks_of_other_sizes_types_and_layouts_are_refused(xp):
    _, on = operands(xp, ("float32", "float32"), 16)
    with pytest.raises(ShapeError, match="takes aux of shape"):
        both(xp, on | {"mask": xp.empty((ROWS, 2), np.uint8)})
    assert both(xp, on | {"mask": xp.empty((ROWS, 16), np.int8)}) == (None, None)
    assert both(xp, on | {"mask": xp.empty((ROWS, 17), np.uint8)[:, :16]}) == (None, None)
    turned = xp.empty((16, ROWS), np.float32).swapaxes(0, 1)
    assert both(xp, on | {"c": turned, "d": turned}) == (None, None)
