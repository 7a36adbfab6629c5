"""Arrays are described without copies, in as few calls as their strides allow, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from hpcad.backend.cublaslt.enums import numpy_type
from hpcad.backend.cublaslt.layout import CALLS, Meta, Offsets, arrange

B, T, H, D = 4, 16, 3, 8


def like(array):
    return Meta(array.shape, array.strides, array.dtype.name, array.itemsize)


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, numpy_type(dtype))


def described(a, b, c, **more):
    return arrange(like(a), like(b), like(c), **more)


def heads(packed):
    """Q, K and V of shape (B, H, T, D) in one array of shape (B, T, 3, H, D)."""
    return [packed[:, :, i].transpose(0, 2, 1, 3) for i in range(3)]


def test_rows_are_told_as_columns_of_the_transposed_product():
    found = described(zeros(5, 7), zeros(7, 11), zeros(5, 11))
    p = found.problem
    assert (p.rows, p.columns, p.depth) == (11, 5, 7)
    assert (p.trans_a, p.lda, p.trans_b, p.ldb, p.ldd) == (False, 11, False, 7, 11)
    assert found.swapped
    assert found.offsets == (Offsets(),)


def test_transposed_operands_become_flags():
    p = described(zeros(7, 5).T, zeros(11, 7).T, zeros(5, 11)).problem
    assert (p.trans_a, p.lda, p.trans_b, p.ldb) == (True, 7, True, 5)


def test_a_result_of_columns_is_asked_for_as_it_is():
    found = described(zeros(5, 7), zeros(7, 11), zeros(11, 5).T)
    p = found.problem
    assert not found.swapped
    assert (p.rows, p.columns, p.trans_a, p.lda, p.trans_b, p.ldb) == (5, 11, True, 7, True, 11)


def test_a_batch_of_rows_is_one_product():
    found = described(zeros(B, T, 7), zeros(7, 11), zeros(B, T, 11))
    assert (found.problem.columns, found.problem.batch, len(found.offsets)) == (B * T, 1, 1)


def test_rows_with_gaps_between_matrices_stay_a_batch():
    x, w, y = zeros(B, T, 7), zeros(7, 11), zeros(B, T, 11)
    for a, c in ((x, zeros(B, T + 1, 11)[:, 1:]), (zeros(B, T + 1, 7)[:, 1:], y)):
        p = described(a, w, c).problem
        assert (p.columns, p.batch) == (T, B)
    aux = like(zeros(B, T + 1, 16)[:, 1:])
    p = described(x, zeros(7, 16), zeros(B, T, 16), epilogue="gelu_aux", aux=aux).problem
    assert (p.columns, p.batch, p.aux_stride) == (T, B, (T + 1) * 16)


def test_single_rows_at_a_distance_are_one_product():
    last = zeros(B, T, 7)[:, -1:]
    p = described(last, zeros(7, 11), zeros(B, 1, 11)).problem
    assert (p.columns, p.batch, p.ldb, p.ldd) == (B, 1, T * 7, 11)


def test_heads_in_packed_qkv_need_one_call_per_index_of_the_shorter_axis():
    q, k, v = heads(zeros(B, T, 3, H, D))
    scores = zeros(B, H, T, T)
    found = described(q, k.swapaxes(-1, -2), scores)
    p = found.problem
    assert (p.batch, len(found.offsets), p.lda, p.ldb) == (B, H, 3 * H * D, 3 * H * D)
    assert (p.stride_a, p.stride_b, p.stride_d) == (T * 3 * H * D, T * 3 * H * D, H * T * T)
    assert [offset.a for offset in found.offsets] == [4 * D * i for i in range(H)]
    out = zeros(B, T, H, D).transpose(0, 2, 1, 3)
    assert len(described(scores, v, out).offsets) == H


def test_heads_that_lie_one_after_the_other_need_one_call():
    q, k, scores = zeros(B, H, T, D), zeros(B, H, T, D), zeros(B, H, T, T)
    found = described(q, k.swapaxes(-1, -2), scores)
    assert (found.problem.batch, len(found.offsets)) == (B * H, 1)


def test_the_longer_of_two_batch_axes_becomes_the_batch():
    a, b, c = zeros(2, 1, 5, 7), zeros(1, 9, 7, 3), zeros(2, 9, 5, 3)
    found = described(a, b, c)
    p = found.problem
    assert (p.batch, p.stride_a, p.stride_b, len(found.offsets)) == (9, 21, 0, 2)


def test_alignments_are_those_of_all_calls():
    found = described(zeros(5, 8), zeros(8, 4), zeros(5, 4))
    assert found.aligned((256, 32, 16, 0, 0)).alignment == (16, 16, 16, 16, 16)
    assert found.aligned((2, 4, 256, 8, 6)).alignment == (2, 4, 16, 8, 2)
    uneven = as_strided(zeros(2 * 123), (2, 3, 5, 8), (4 * 123, 4 * 40, 4 * 8, 4))
    found = described(uneven, zeros(2, 3, 8, 4), zeros(2, 3, 5, 4))
    assert (len(found.offsets), found.offsets[1].b) == (2, 4 * 123)
    assert found.aligned((256,) * 5).alignment == (16, 4, 16, 16, 16)


steps = zeros(20, 30)


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        (steps[::2, ::2], zeros(15, 4), zeros(10, 4)),
        (zeros(4, 10), steps[:10, ::-1], zeros(4, 30)),
        (zeros(4, 10), np.broadcast_to(zeros(1, 3), (10, 3)), zeros(4, 3)),
        (zeros(4, 5), zeros(5, 6), steps[:8:2, :18:3]),
        (zeros(4, 5), zeros(5, 6), np.broadcast_to(zeros(4, 6), (3, 4, 6))),
        (zeros(3, 4, 5)[::-1], zeros(5, 6), zeros(3, 4, 6)),
        (zeros(4, 5), zeros(5, 6, dtype="float64"), zeros(4, 6, dtype="float64")),
        (zeros(4, 5), zeros(5, 6), zeros(4, 6, dtype="float16")),
        (zeros(4, 5, dtype="float16"), zeros(5, 6, dtype="float16"), zeros(4, 6, dtype="float64")),
        (zeros(4, 5).astype(int), zeros(5, 6).astype(int), zeros(4, 6).astype(int)),
    ],
    ids=["a steps", "b backwards", "b repeats", "c steps", "c repeats", "batch backwards",
         "types differ", "c is narrow", "c is too wide", "integers"],
)  # fmt: skip
def test_what_cannot_be_described_is_refused(a, b, c):
    assert described(a, b, c) is None


def test_too_many_calls_are_refused():
    many = CALLS + 1
    a, b = zeros(many, 1, 2, 3), zeros(1, many, 3, 2)
    assert described(a, b, zeros(many, many, 2, 2)) is None
    assert len(described(a[1:], b, zeros(CALLS, many, 2, 2)).offsets) == CALLS


def test_a_vector_beside_columns_is_refused():
    a, b, bias = zeros(5, 7), zeros(7, 11), like(zeros(11))
    assert described(a, b, zeros(11, 5).T, epilogue="bias", bias=bias) is None
    assert described(a, b, zeros(5, 11), epilogue="bias", bias=bias) is not None


@pytest.mark.parametrize(("width", "fits"), [(8, True), (12, False)])
def test_rows_of_aux_start_at_multiples_of_eight(width, fits):
    a, b, c = zeros(5, 7), zeros(7, width), zeros(5, width)
    found = described(a, b, c, epilogue="gelu_aux", aux=like(zeros(5, width)))
    assert (found is not None) == fits


def test_sums_of_operands_are_named_after_the_library_s():
    a, b = zeros(9, 5).T, zeros(9, 8)
    rows = described(a, b, zeros(5, 8), epilogue="bgrad_b", bias=like(zeros(8)))
    assert rows.problem.epilogue == "BGRADA"
    rows = described(a, b, zeros(5, 8), epilogue="bgrad_a", bias=like(zeros(5)))
    assert rows.problem.epilogue == "BGRADB"


def test_sums_over_a_batch_are_refused():
    a, b, c = zeros(3, 5, 7), zeros(3, 7, 8), zeros(3, 5, 8)
    assert described(a, b, c, epilogue="bgrad_b", bias=like(zeros(8))) is None
    aux = like(zeros(3, 5, 8))
    assert described(a, b, c, epilogue="dgelu_bgrad", bias=like(zeros(8)), aux=aux) is None
    weight = zeros(7, 8)
    folded = described(a, weight, c, epilogue="dgelu_bgrad", bias=like(zeros(8)), aux=aux)
    assert folded.problem.columns == 15


def test_tf32_is_for_float32_only():
    assert described(zeros(5, 7), zeros(7, 8), zeros(5, 8), tf32=True).problem.compute == "tf32"
    half = [zeros(*shape, dtype="float16") for shape in ((5, 7), (7, 8), (5, 8))]
    assert described(*half, tf32=True).problem.compute == "float32"


def test_keys_tell_problems_apart():
    shapes = [((5, 7), (7, 8), (5, 8)), ((7, 5), (5, 8), (7, 8)), ((3, 5, 7), (3, 7, 8), (3, 5, 8))]
    found = [described(*(zeros(*s) for s in arrays), adds=adds).problem.key
             for arrays in shapes for adds in (False, True)]  # fmt: skip
    assert len(set(found)) == len(found)
