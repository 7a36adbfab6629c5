"""Views are described to BLAS exactly, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.gemm import Gemm, describe, matrix
from hpcad.errors import ShapeError

whole = np.arange(20.0 * 30).reshape(20, 30)


@pytest.mark.parametrize(
    ("view", "trans", "ld"),
    [
        (whole, False, 30),
        (whole.T, True, 30),
        (whole[::2], False, 60),
        (whole[3:, 5:9], False, 30),
        (whole[:, :7].T, True, 30),
        (whole[4:5], False, 30),
        (whole[:, 4:5], False, 30),
        (whole[0, None], False, 30),
        (np.ones((0, 7)), False, 7),
        (np.asfortranarray(whole), True, 20),
    ],
)
def test_a_view_is_pointer_flag_and_stride(view, trans, ld):
    assert matrix(view) == (view.ctypes.data, trans, ld)


@pytest.mark.parametrize(
    "view",
    [
        whole[:, ::2],
        whole[::-1],
        whole[:, ::-1],
        np.broadcast_to(whole[0], (20, 30)),
        whole[::2, ::2].T,
    ],
)
def test_other_steps_need_a_copy(view):
    assert matrix(view) is None


def test_what_blas_cannot_be_given_is_not_described():
    a, b, c = np.ones((4, 3)), np.ones((3, 5)), np.ones((4, 5))
    assert describe(a, b, c) is not None
    assert describe(a.astype("f4"), b, c) is None
    assert describe(a.astype(int), b.astype(int), c.astype(int)) is None
    assert describe(a[0], b, c[0]) is None
    assert describe(a, b[:2], c) is None
    assert describe(a[:, ::2], b[:2], c) is None
    assert describe(a, b, np.broadcast_to(c, (2, 4, 5))) is None
    assert describe(np.ones((3, 4, 3)), b, np.ones((2, 4, 5))) is None
    assert describe(a.astype(">f8"), b.astype(">f8"), c.astype(">f8")) is None


def test_a_result_in_columns_is_the_transposed_product():
    a, b, c = np.ones((4, 3)), np.ones((3, 5)), np.ones((5, 4)).T
    spec, left, right, out = describe(a, b, c)
    assert (spec.m, spec.n, spec.k, spec.trans_a, spec.trans_b) == (5, 4, 3, True, True)
    assert (left, right, out) == (b.ctypes.data, a.ctypes.data, c.ctypes.data)


def test_batch_strides_are_those_of_the_views():
    qkv = np.ones((8, 128, 3, 4, 64), "f4")
    q, k = (qkv[:, :, i].swapaxes(1, 2) for i in (0, 1))
    spec = describe(q, k.swapaxes(-1, -2), np.empty((8, 4, 128, 128), "f4")).spec
    assert spec == Gemm(
        "float32", 128, 128, 64, trans_b=True, lda=768, ldb=768, batch=(8, 4),
        stride_a=(128 * 768, 64), stride_b=(128 * 768, 64), stride_c=(4 * 128**2, 128**2),
    )  # fmt: skip


def test_a_product_can_be_flipped_to_the_other_layout_and_back():
    spec = Gemm("float32", 4, 5, 6, ldb=9)
    assert spec.flipped("b") == Gemm("float32", 4, 5, 6, trans_b=True, ldb=6)
    assert spec.flipped("a").flipped("a") == spec
    with pytest.raises(ShapeError, match="batch of matrices"):
        Gemm("float32", 4, 5, 6, batch=(2,), stride_a=(24,)).flipped("a")


def test_a_batch_times_one_matrix_is_one_product_of_more_rows():
    x, w, y = np.ones((2, 3, 4, 5)), np.ones((5, 6)), np.ones((2, 3, 4, 6))
    assert describe(x, w, y).spec.folded() == Gemm("float64", 24, 6, 5)
    assert describe(x[:, :2], w, y[:, :2]).spec.folded().batch == (2,)  # there is a gap
    for a, b, c in [(x, np.ones((3, 5, 6)), y), (np.ones((2, 3, 5, 4)).swapaxes(2, 3), w, y)]:
        spec = describe(a, b, c).spec
        assert spec.folded() == spec


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lda": 2}, "lda = 2 is shorter than a row of 3"),
        ({"batch": (2,), "stride_a": (1, 2)}, "does not fit the batch"),
        ({"dtype": "float16"}, "no BLAS multiplies float16"),
    ],
)
def test_impossible_products_say_what_is_wrong(options, message):
    with pytest.raises(ShapeError, match=message):
        Gemm(**{"dtype": "float64", "m": 2, "n": 4, "k": 3, **options})
