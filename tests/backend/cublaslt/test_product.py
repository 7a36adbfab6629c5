"""Bound products: packed operands, empty ones, what is refused, and what a call does."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import flops
from hpcad.backend.cublaslt import BoundProduct, allow_tf32, bind_product
from hpcad.backend.cublaslt.context import context_of
from hpcad.errors import ShapeError

from .arrays import host, put

rng = np.random.default_rng(0)


def draw(*shape, dtype="float32"):
    return rng.standard_normal(shape).astype(dtype)


def near(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_attention_on_packed_heads_copies_nothing(xp):
    batch, steps, heads, width = 2, 6, 3, 8
    packed = xp.asarray(draw(batch, steps, 3, heads, width))
    q, k, v = (packed[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
    scores = xp.empty((batch, heads, steps, steps), np.float32)
    merged = xp.zeros((batch, steps, heads, width), np.float32)
    out = merged.transpose(0, 2, 1, 3)
    calls = [
        bind_product(xp, q, k.swapaxes(-1, -2), scores, alpha=0.5),
        bind_product(xp, scores, v, out),
    ]
    for call in calls:
        call()
    q, k, v = (host(xp, x) for x in (q, k, v))
    wanted = 0.5 * q @ k.swapaxes(-1, -2)
    near(host(xp, scores), wanted)
    near(host(xp, merged), (wanted @ v).transpose(0, 2, 1, 3))


def test_gradients_are_added_into_packed_heads(xp):
    packed = xp.asarray(np.ones((2, 6, 3, 3, 8), np.float32))
    a, b = draw(2, 3, 6, 6), draw(2, 3, 6, 8)
    target = packed[:, :, 1].transpose(0, 2, 1, 3)
    bind_product(xp, xp.asarray(a).swapaxes(-1, -2), xp.asarray(b), target, beta=1.0)()
    found = host(xp, packed)
    near(found[:, :, 1], (1 + a.swapaxes(-1, -2) @ b).transpose(0, 2, 1, 3))
    assert (found[:, :, [0, 2]] == 1).all()


def test_what_lies_between_rows_is_not_written(xp):
    memory = xp.asarray(np.full((5, 12), 7, np.float32))
    a, b = draw(5, 4), draw(4, 6)
    bind_product(xp, xp.asarray(a), xp.asarray(b), memory[:, 3:9])()
    found = host(xp, memory)
    near(found[:, 3:9], a @ b)
    assert (found[:, :3] == 7).all()
    assert (found[:, 9:] == 7).all()


def test_a_product_is_called_again_with_what_is_there_then(xp):
    a, b, c = xp.asarray(draw(4, 8)), xp.asarray(draw(8, 8)), xp.empty((4, 8), np.float32)
    call = bind_product(xp, a, b, c)
    call()
    fresh = draw(4, 8)
    a[...] = xp.asarray(fresh)
    call()
    near(host(xp, c), fresh @ host(xp, b))


@pytest.mark.parametrize("start", [1, 2, 3, 4, 5])
def test_odd_addresses_find_another_algorithm(xp, start):
    a, b = draw(8, 16, dtype="float16"), draw(16, 8, dtype="float16")
    c = xp.empty((8, 8), np.float16)
    call = bind_product(xp, put(xp, a, start=start, gap=8 - start), xp.asarray(b), c)
    assert call.plan.problem.alignment[1] == {1: 2, 2: 4, 3: 2, 4: 8, 5: 2}[start]
    call()
    np.testing.assert_allclose(host(xp, c), a @ b, rtol=1e-2, atol=1e-2)


def test_plans_are_shared_by_products_that_differ_in_addresses(xp):
    calls = []
    for factor in (1.0, 2.0):
        a, b = xp.asarray(draw(4, 8)), xp.asarray(draw(8, 8))
        calls.append(bind_product(xp, a, b, xp.empty((4, 8), np.float32), alpha=factor))
    assert calls[0].plan is calls[1].plan


def test_operations_are_counted(xp):
    a, b = xp.asarray(draw(2, 3, 5, 7)), xp.asarray(draw(2, 3, 7, 4))
    call = bind_product(xp, a, b, xp.empty((2, 3, 5, 4), np.float32))
    with flops.counted_flops() as count:
        call.count()
    assert count.total == call.flops == 2 * 6 * 5 * 7 * 4


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_sum_of_nothing_is_zero(xp, beta, with_bias):
    c, bias = draw(5, 8), draw(8)
    target, given = xp.asarray(c), xp.asarray(bias) if with_bias else None
    a, b = xp.empty((5, 0), np.float32), xp.empty((0, 8), np.float32)
    bind_product(xp, a, b, target, beta=beta, bias=given)()
    near(host(xp, target), beta * c + (bias if with_bias else 0))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((0, 4), (4, 3)),
        ((2, 4), (4, 0)),
        ((0, 2, 4), (4, 3)),
        ((0, 2, 4), (0, 4, 3)),
        ((0, 0), (0, 0)),
    ],
)
def test_a_product_without_elements_does_nothing(xp, a, b):
    shape = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])
    call = bind_product(xp, *(xp.empty(s, np.float32) for s in (a, b, shape)), beta=1.0)
    assert not isinstance(call, BoundProduct)
    call()


def test_an_epilogue_of_nothing_is_left_to_the_caller(xp):
    a, b, c = (xp.empty(s, np.float32) for s in ((5, 0), (0, 8), (5, 8)))
    assert bind_product(xp, a, b, c, epilogue="gelu") is None


def test_sums_of_a_product_with_a_factor_are_left_to_the_caller(xp):
    a, b, c = (xp.empty(s, np.float32) for s in ((5, 4), (4, 8), (5, 8)))
    bias = xp.empty(8, np.float32)
    assert bind_product(xp, a, b, c, alpha=2.0, epilogue="bgrad_b", bias=bias) is None
    assert bind_product(xp, a, b, c, epilogue="bgrad_b", bias=bias) is not None


@pytest.mark.parametrize("view", [np.s_[::2, ::2], np.s_[::-1, :], np.s_[:, ::-1]])
def test_steps_along_both_axes_are_left_to_the_caller(xp, view):
    a = xp.asarray(draw(8, 8))[view]
    b = xp.empty((a.shape[1], 4), np.float32)
    assert bind_product(xp, a, b, xp.empty((a.shape[0], 4), np.float32)) is None


def test_types_that_cublaslt_does_not_multiply_are_left_to_the_caller(xp):
    whole = [xp.zeros(s, np.int32) for s in ((2, 3), (3, 4), (2, 4))]
    assert bind_product(xp, *whole) is None


@pytest.mark.parametrize(
    ("shapes", "more", "message"),
    [
        (((5, 4), (3, 8), (5, 8)), {}, r"\(5, 4\) and \(3, 8\): the inner sizes differ"),
        (((5, 4), (4, 8), (5, 7)), {}, r"does not fit into one of shape \(5, 7\)"),
        (((2, 5, 4), (3, 4, 8), (3, 5, 8)), {}, "does not fit into one"),
        (((2, 5, 4), (4, 8), (5, 8)), {}, "does not fit into one"),
        (((4,), (4, 8), (1, 8)), {}, "the inner sizes differ"),
        (((5, 4), (4, 8), (5, 8)), {"epilogue": "sigmoid"}, "no epilogue is called 'sigmoid'"),
        (((5, 4), (4, 8), (5, 8)), {"epilogue": "BGRADB"}, "no epilogue is called 'BGRADB'"),
        (((5, 4), (4, 8), (5, 8)), {"epilogue": "bias"}, r"takes bias of shape \(8,\).*given None"),
        (((5, 4), (4, 8), (5, 8)), {"bias": (5,)}, r"takes bias of shape \(8,\).*given \(5,\)"),
        (((5, 4), (4, 8), (5, 8)), {"epilogue": "relu", "bias": (8,)}, "takes bias of shape None"),
        (((5, 4), (4, 8), (5, 8)), {"epilogue": "gelu", "aux": (5, 8)}, "takes aux of shape None"),
        (((5, 4), (4, 8), (5, 8)), {"epilogue": "dgelu", "aux": (8, 5)}, "aux of shape"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error(xp, shapes, more, message):
    arrays = [xp.empty(shape, np.float32) for shape in shapes]
    given = {k: v if isinstance(v, str) else xp.empty(v, np.float32) for k, v in more.items()}
    with pytest.raises(ShapeError, match=message):
        bind_product(xp, *arrays, **given)


def test_tf32_is_asked_for_one_product_or_for_all(xp):
    arrays = [xp.asarray(draw(16, 16)) for _ in range(3)]
    exact = host(xp, arrays[0]) @ host(xp, arrays[1])
    errors = {}
    for tf32 in (False, True):
        bind_product(xp, *arrays, tf32=tf32)()
        errors[tf32] = np.abs(host(xp, arrays[2]) - exact).max()
    assert errors[False] < 1e-5 < errors[True] < 2e-2
    try:
        allow_tf32()
        assert bind_product(xp, *arrays).plan.problem.compute == "tf32"
        assert bind_product(xp, *arrays, tf32=False).plan.problem.compute == "float32"
    finally:
        allow_tf32(False)
    assert bind_product(xp, *arrays).plan.problem.compute == "float32"


def test_a_device_has_one_context(xp):
    context = context_of(xp)
    assert context is context_of(xp)
    assert context.workspace_bytes in (4 << 20, 32 << 20)
    stream = xp.cuda.get_current_stream()
    assert context.workspace(stream) == context.workspace(stream)
