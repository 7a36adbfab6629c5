"""Compiled convolutions equal the primitives' values by GEMM."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hpcad.backend.native import threads
from hpcad.backend.native.compiler import find_compiler
from hpcad.backend.native.convolution import ConvForward, ConvInput, ConvWeight, direct, winograd
from hpcad.backend.native.convolution.routines import Convolution, _plan
from hpcad.primitives import convolution, pooling

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
pytestmark = needs_compiler

# Units of rounding of the largest sum of absolute products. Products and additions round once
# each, in stretches whose errors grow like a root; Winograd's transforms add a few more, and carry
# the error of a pixel to its neighbours in the tile.
UNITS = 16
quick = settings(max_examples=80, deadline=None)


@pytest.fixture(autouse=True, scope="module")
def _threads():
    before = threads.threads()
    threads.set_threads(3)
    yield
    threads.set_threads(before)


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    """Several units of work, and bands of rows, in the small cases of these tests."""
    _plan.cache_clear()
    for module, name in ((direct, "UNIT"), (winograd, "UNIT"), (winograd, "WEIGHT_UNIT")):
        monkeypatch.setattr(module, name, 24 << 10)
    for name in ("TILES", "WEIGHT_TILES"):
        monkeypatch.setattr(winograd, name, 4)
    yield
    _plan.cache_clear()


def aligned(shape, dtype, fill=None):
    """An array at a multiple of 64 bytes, of NaN or of given values."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.full(size + 64, 255, np.uint8)
    array = memory[-memory.ctypes.data % 64 :][:size].view(dtype).reshape(shape)
    if fill is not None:
        array[...] = fill
    return array


def address(array):
    return 0 if array is None else array.ctypes.data


def call(routine, *arrays, **others):
    """Bind and run a routine; scratch memory starts as NaN."""
    scratch = aligned((routine.scratch,), np.uint8)
    others = {k: v if isinstance(v, float) else address(v) for k, v in others.items()}
    routine.bind(*map(address, arrays), address(scratch), **others)()


def weight_gradient(x, g, case):
    out = np.zeros(case.weight, x.dtype)
    convolution._add_conv_weight_gemm(out, 0.0, g, x, case.stride, case.padding)
    return out


def input_gradient(g, w, case):
    return convolution._conv_input_gemm(g, w, case.images[1:3], case.stride, case.padding)


def assert_near(found, value, *arrays):
    """``found`` is ``value(*arrays)``, measured by what it is of absolute values."""
    error = np.abs(found - value(*arrays)).max(initial=0.0)
    scale = value(*map(np.abs, arrays)).max(initial=0.0)
    assert error <= UNITS * np.finfo(found.dtype).eps * scale


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
sizes = st.tuples(st.integers(1, 15), st.integers(1, 15))
channels = st.sampled_from([1, 2, 5, 8, 16, 17, 40])


@st.composite
def convolutions(draw):
    """Any kernel, stride and padding; half of them such that Winograd's scheme can be used."""
    wanted = draw(st.booleans())
    kernel = (3, 3) if wanted else draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    case = Convolution(
        images=(draw(st.integers(1, 5)), *draw(sizes), draw(channels)),
        weight=(*kernel, 0, draw(channels)),
        stride=(1, 1) if wanted else draw(pairs),
        padding=draw(st.tuples(st.integers(0, 3), st.integers(0, 3))),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        winograd=wanted,
        workers=draw(st.sampled_from([1, 3])),
    )
    case = replace(case, weight=(*kernel, case.images[3], case.weight[3]))
    assume(min(case.out) > 0)
    return case


def of(kind, case, **options):
    return kind(case.images, case.weight, case.stride, case.padding, case.dtype, case.winograd,
                case.workers, **options)  # fmt: skip


def operands(case):
    rng = np.random.default_rng(sum(case.images) + sum(case.weight))
    shapes = case.images, case.weight, case.weight[3:], case.out
    return [aligned(shape, case.dtype, rng.normal(size=shape)) for shape in shapes]


@quick
@given(convolutions(), st.booleans(), st.booleans())
def test_forward_equals_the_primitive(case, with_bias, relu):
    x, w, b, _ = operands(case)
    arrays = (x, w, b) if with_bias else (x, w)

    def value(x, w, b=None):
        y = convolution._conv_gemm(x, w, b, case.stride, case.padding)
        return np.maximum(y, 0) if relu else y

    out = aligned(case.out, case.dtype)
    call(of(ConvForward, case, relu=relu), x, w, out, bias=b if with_bias else None)
    assert_near(out, value, *arrays)


@quick
@given(convolutions())
def test_input_gradient_equals_the_primitive(case):
    _, w, _, g = operands(case)
    out = aligned(case.images, case.dtype)
    call(of(ConvInput, case), g, w, out)
    assert_near(out, lambda g, w: input_gradient(g, w, case), g, w)


@quick
@given(convolutions(), st.sampled_from([0.0, 1.0]))
def test_weight_and_bias_gradients_equal_the_primitives_and_can_be_added(case, beta):
    x, w, b, g = operands(case)
    out, bias = aligned(w.shape, w.dtype, w), aligned(b.shape, b.dtype, b)
    call(of(ConvWeight, case), x, g, out, beta=beta, bias=bias, bias_beta=beta)
    assert_near(out, lambda x, g, w: weight_gradient(x, g, case) + beta * w, x, g, w)
    assert_near(bias, lambda g, b: g.sum((0, 1, 2)) + beta * b, g, b)


# -- pooling and ReLU on the way ------------------------------------------------------------------


@quick
@given(convolutions(), st.booleans())
def test_pooled_forward_is_exactly_what_pooling_makes_of_the_unpooled_one(case, relu):
    assume(min(case.out[1:3]) > 1)
    x, w, b, _ = operands(case)
    plain = aligned(case.out, case.dtype)
    call(of(ConvForward, case), x, w, plain, bias=b)
    best, (winner, _) = pooling._max_pool(plain, size=2)
    routine = of(ConvForward, case, relu=relu, pool=True)
    out, won = aligned(routine.result, case.dtype), aligned(routine.result, np.int8)
    call(routine, x, w, out, bias=b, winner=won)
    np.testing.assert_array_equal(out, np.maximum(best, 0) if relu else best)
    np.testing.assert_array_equal(won, winner)


@quick
@given(convolutions(), st.booleans(), st.booleans())
def test_gradients_are_unpooled_and_masked_while_they_are_read(case, pooled, masked):
    assume(min(case.out[1:3]) > 1)
    x, w, b, g = operands(case)
    winner = positive = None
    read = g
    if pooled:
        y = convolution._conv_gemm(x, w, b, case.stride, case.padding)
        best, (winner, _) = pooling._max_pool(y, size=2)
        g, winner = aligned(best.shape, case.dtype, best), aligned(best.shape, np.int8, winner)
        read = g
    if masked:
        positive = aligned(g.shape, case.dtype, np.roll(g, 1))
        read = g * (positive > 0)
    if pooled:
        read = pooling._unpool(read, winner=winner, shape=case.out, size=2)
    options = {"pooled": pooled, "masked": masked}
    dx, dw = aligned(x.shape, x.dtype), aligned(w.shape, w.dtype)
    call(of(ConvInput, case, **options), g, w, dx, winner=winner, positive=positive)
    assert_near(dx, lambda g, w: input_gradient(g, w, case), read, w)
    call(of(ConvWeight, case, **options), x, g, dw, winner=winner, positive=positive)
    assert_near(dw, lambda x, g: weight_gradient(x, g, case), x, read)


def test_nan_passes_pooling_and_relu_as_in_numpy():
    case = Convolution((1, 4, 4, 1), (1, 1, 1, 1))
    x = aligned(case.images, case.dtype, np.arange(-8.0, 8.0).reshape(case.images))
    x[0, 0, 0], x[0, 1, 3], x[0, 3, 2] = np.nan, np.nan, np.inf
    w = aligned(case.weight, case.dtype, 1.0)
    routine = of(ConvForward, case, relu=True, pool=True)
    out, won = aligned(routine.result, case.dtype), aligned(routine.result, np.int8)
    call(routine, x, w, out, winner=won)
    best, (winner, _) = pooling._max_pool(x, size=2)
    np.testing.assert_array_equal(out, np.maximum(best, 0))
    np.testing.assert_array_equal(won, winner)


# -- schemes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ConvForward, ConvInput, ConvWeight])
def test_winograd_errs_as_little_as_products_do(kind):
    """Against float64; stated in the routines' documentation."""
    errors = {}
    for scheme in (False, True):
        case = Convolution((4, 14, 14, 64), (3, 3, 64, 96), padding=(1, 1), winograd=scheme)
        x, w, _, g = operands(case)
        exact = [a.astype(np.float64) for a in (x, w, g)]
        if kind is ConvForward:
            arrays, right = (x, w), convolution._conv_gemm(*exact[:2], None, (1, 1), (1, 1))
        elif kind is ConvInput:
            arrays, right = (g, w), input_gradient(exact[2], exact[1], case)
        else:
            arrays, right = (x, g), weight_gradient(exact[0], exact[2], case)
        out = aligned(right.shape, case.dtype)
        routine = of(kind, case)
        assert routine.scheme == ("winograd" if scheme else "direct")
        call(routine, *arrays, out)
        errors[scheme] = np.sqrt(np.mean((out - right) ** 2) / np.mean(right**2))
    assert max(errors.values()) < 6 * np.finfo("float32").eps
    assert errors[True] < 1.6 * errors[False]


def test_winograd_is_chosen_where_it_was_faster():
    def scheme(size, c, k, **options):
        return ConvForward((8, size, size, c), (3, 3, c, k), padding=(1, 1), **options).scheme

    assert scheme(14, 32, 64) == scheme(28, 16, 16) == scheme(7, 64, 64) == "winograd"
    assert scheme(28, 1, 32) == scheme(28, 8, 8) == scheme(3, 16, 16) == "direct"
    assert scheme(14, 32, 64, stride=(2, 2)) == scheme(14, 32, 64, winograd=False) == "direct"


def test_equal_threads_give_equal_bits():
    case = Convolution((6, 9, 9, 16), (3, 3, 16, 16), padding=(1, 1))
    x, w, _, g = operands(case)
    first, second = aligned(w.shape, w.dtype), aligned(w.shape, w.dtype)
    call(of(ConvWeight, case), x, g, first)
    call(of(ConvWeight, case), x, g, second)
    np.testing.assert_array_equal(first, second)
