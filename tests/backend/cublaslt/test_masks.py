"""ReLU with a mask of bits, and the product behind it that reads the mask."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.cublaslt.product import BoundProduct
from hpcad.backend.cublaslt.tuning import fastest
from hpcad.errors import ShapeError

from .arrays import TYPES, host
from .masks import ROWS, both, check, operands


@pytest.mark.parametrize("columns", [1, 7, 16, 128, 130])
@pytest.mark.parametrize("types", TYPES, ids="-".join)
def test_the_mask_of_one_product_is_read_by_another(xp, types, columns):
    check(xp, types, columns)


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
