"""Hand-written routines equal the values of the primitives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcad.backend import get_backend
from hpcad.backend.native import threads
from hpcad.backend.native.compiler import find_compiler
from hpcad.backend.native.routines import GatherRows, MaxPool, Pick, ScatterAddRows, Unpool
from hpcad.errors import OutOfBoundsError
from hpcad.primitives import pooling

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")

REALS = st.sampled_from(["float32", "float64"])
INDICES = st.sampled_from(["int32", "int64"])
quick = settings(max_examples=60, deadline=None)


@pytest.fixture(autouse=True, params=[1, 3], ids=["1 thread", "3 threads"])
def _threads(request):
    before = threads.threads()
    threads.set_threads(request.param)
    yield
    threads.set_threads(before)


def _address(array):
    return array.ctypes.data


def _padded(rng, rows, width, pad, dtype):
    """Rows of a wider matrix, and the distance between them."""
    return rng.normal(size=(rows, width + pad)).astype(dtype)[:, :width], width + pad


# -- rows by index ------------------------------------------------------------------------------


@needs_compiler
@quick
@given(
    REALS, INDICES, st.integers(1, 40), st.integers(0, 50), st.integers(1, 70), st.integers(0, 9)
)
def test_gather_takes_rows_also_from_the_end(dtype, kind, table, count, width, pad):
    rng = np.random.default_rng(table + count)
    source, stride = _padded(rng, table, width, pad, dtype)
    index = rng.integers(-table, table, count).astype(kind)
    out = np.empty((count, width), dtype)
    gather = GatherRows(dtype, kind, table, count, width, source_stride=stride)
    gather.bind(_address(source), _address(index), _address(out))()
    np.testing.assert_array_equal(out, source[index])


@needs_compiler
@quick
@given(REALS, INDICES, st.integers(1, 9), st.integers(0, 90), st.integers(1, 70), st.booleans())
def test_scatter_adds_rows_in_the_order_of_the_batch(dtype, kind, table, count, width, accumulate):
    rng = np.random.default_rng(table + count)
    rows, stride = _padded(rng, count, width, 3, dtype)
    index = rng.integers(-table, table, count).astype(kind)
    out = rng.normal(size=(table, width)).astype(dtype)
    expected = out.copy() if accumulate else np.zeros_like(out)
    np.add.at(expected, index, rows)
    summed = out.copy() if accumulate else np.zeros_like(out)
    get_backend("cpu").scatter_add_rows(summed, index, rows)
    scatter = ScatterAddRows(dtype, kind, table, count, width, stride, accumulate=accumulate)
    scatter.bind(_address(rows), _address(index), _address(out))()
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_allclose(out, summed, 1e-4 if dtype == "float32" else 1e-12, 1e-4)


@needs_compiler
def test_large_tables_are_shared_out_and_the_sums_stay_the_same():
    rng = np.random.default_rng(0)
    table, count, width = 300, 2500, 300
    rows = rng.normal(size=(count, width)).astype(np.float32)
    index = rng.integers(0, table, count)
    out, back = np.empty((table, width), np.float32), np.empty((count, width), np.float32)
    scatter = ScatterAddRows("float32", "int64", table, count, width)
    scatter.bind(_address(rows), _address(index), _address(out))()
    expected = np.zeros_like(out)
    np.add.at(expected, index, rows)
    np.testing.assert_array_equal(out, expected)
    gather = GatherRows("float32", "int64", table, count, width)
    gather.bind(_address(out), _address(index), _address(back))()
    np.testing.assert_array_equal(back, out[index])


@needs_compiler
@pytest.mark.parametrize("kind", ["int32", "int64"])
@pytest.mark.parametrize("bad", [5, -6, 2**31 - 1, -(2**31)])
def test_an_index_out_of_bounds_is_named_and_nothing_is_written(kind, bad):
    index = np.array([0, -5, 4, bad, bad], kind)
    table, rows = np.ones((5, 3), np.float32), np.full((5, 3), 7, np.float32)
    gather = GatherRows("float32", kind, 5, 5, 3)
    scatter = ScatterAddRows("float32", kind, 5, 5, 3)
    message = rf"index {bad} \(number 3 of 5\) .* \[-5, 5\)"
    with pytest.raises(OutOfBoundsError, match=message):
        gather.bind(_address(table), _address(index), _address(rows))()
    assert (rows == 7).all()
    with pytest.raises(OutOfBoundsError, match=message):
        scatter.bind(_address(rows), _address(index), _address(table))()
    assert (table == 1).all()
    index[3:] = 1
    gather.bind(_address(table), _address(index), _address(rows))()
    assert (rows == 1).all()


# -- pooling ------------------------------------------------------------------------------------


@st.composite
def pools(draw):
    """dtype, images with ties, NaN and infinities, the size, and a cotangent."""
    dtype, size = draw(REALS), draw(st.integers(1, 5))
    n, channels = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 7, 16, 33, 1030]))
    h, w = size * draw(st.integers(1, 3)), size * draw(st.integers(1, 5))
    rest = (draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    shape = (n, h + rest[0], w + rest[1], channels)
    x = rng.integers(-3, 4, shape).astype(dtype)
    for value in (np.nan, np.inf, -np.inf):
        x[rng.random(shape) < 0.02] = value
    g = rng.normal(size=(n, h // size, w // size, channels)).astype(dtype)
    return dtype, x, size, g


def _strided(x):
    """A copy of images inside larger ones, and its strides in elements."""
    n, h, w, c = x.shape
    inside = np.full((n, h + 2, w + 1, c), 9, x.dtype)[:, 1 : h + 1, :w]
    inside[...] = x
    return inside, tuple(s // x.itemsize for s in inside.strides[:3])


@needs_compiler
@quick
@given(pools(), st.booleans(), st.booleans())
def test_max_pool_equals_the_primitive(case, strided, relu):
    dtype, x, size, g = case
    images, strides = _strided(x) if strided else (x, None)
    pooled, winner = np.empty_like(g), np.empty(g.shape, np.int8)
    pool = MaxPool(dtype, x.shape, size, strides, relu)
    pool.bind(_address(images), _address(pooled), _address(winner))()
    expected, (won, _) = pooling._max_pool(x, size=size)
    np.testing.assert_array_equal(pooled, np.maximum(expected, 0) if relu else expected)
    np.testing.assert_array_equal(winner, won)


@needs_compiler
@quick
@given(pools(), st.booleans(), st.booleans())
def test_unpool_equals_the_primitive_and_covers_what_is_left_over(case, strided, masked):
    dtype, x, size, g = case
    best, (winner, shape) = pooling._max_pool(x, size=size)
    expected = pooling._unpool(
        g * (best > 0) if masked else g, winner=winner, shape=shape, size=size
    )
    images, strides = _strided(x) if strided else (np.full_like(x, 9), None)
    unpool = Unpool(dtype, x.shape, size, strides)
    mask = _address(best) if masked else 0
    unpool.bind(_address(g), _address(winner), _address(images), mask)()
    np.testing.assert_array_equal(images, expected)
    if strided:
        assert (images.base[:, [0, -1]] == 9).all()
        assert (images.base[:, :, -1] == 9).all()


@needs_compiler
@quick
@given(pools())
def test_pick_equals_the_primitive(case):
    dtype, x, size, g = case
    _, (winner, _) = pooling._max_pool(x, size=size)
    picked = np.empty_like(g)
    Pick(dtype, x.shape, size).bind(_address(x), _address(winner), _address(picked))()
    np.testing.assert_array_equal(picked, pooling._pool_by_index(x, winner=winner, size=size))


@needs_compiler
def test_relu_before_pooling_has_the_same_gradient_as_relu_after_it():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 8, 8, 16)).astype(np.float32)
    g = rng.normal(size=(2, 4, 4, 16)).astype(np.float32)
    pooled, winner, found = np.empty_like(g), np.empty(g.shape, np.int8), np.empty_like(x)
    MaxPool("float32", x.shape, 2, relu=True).bind(*map(_address, (x, pooled, winner)))()
    Unpool("float32", x.shape, 2).bind(*map(_address, (g, winner, found, pooled)))()
    best, (won, shape) = pooling._max_pool(np.maximum(x, 0), size=2)
    np.testing.assert_array_equal(pooled, best)
    np.testing.assert_array_equal(
        found, pooling._unpool(g, winner=won, shape=shape, size=2) * (x > 0)
    )


# -- what there is no routine for ---------------------------------------------------------------


def test_other_dtypes_and_sizes_are_not_supported():
    assert not GatherRows("complex64", "int64", 3, 3, 3).supported
    assert not ScatterAddRows("float32", "uint8", 3, 3, 3).supported
    assert not MaxPool("float16", (1, 4, 4, 1), 2).supported
    assert not MaxPool("float32", (1, 4, 4, 1), 5).supported
    assert not MaxPool("float32", (1, 40, 40, 1), 12).supported


@needs_compiler
def test_the_usual_ones_are():
    assert GatherRows("float32", "int64", 3, 3, 3).supported
    assert MaxPool("float64", (1, 4, 4, 1), 2).supported
