"""Primitives on random shapes, dtypes, memory layouts and broadcast patterns.

Forward mode is held against numerical differentiation, and reverse mode against forward mode.
"""

from __future__ import annotations

import math
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpcad.numpy as hnp
from hpcad.primitives import elementwise as e
from hpcad.primitives.indexing import getitem, take_rows

from .random_arrays import SIDES, arrays, check, law, reduced, relaid, shapes


@st.composite
def broadcastable(draw):
    """Two arrays whose shapes fit, each of a dtype of its own."""
    shape = draw(shapes())
    pair = []
    for _ in range(2):
        kept = draw(st.integers(0, len(shape)))
        ones = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
        part = tuple(1 if one else n for n, one in zip(shape, ones, strict=True))
        pair.append(draw(arrays(part[len(shape) - kept :])))
    return pair


# -- elementwise --------------------------------------------------------------------------------

UNARY = [e.negative, e.exp, e.expm1, e.log, e.log1p, e.sqrt, e.square, e.sin, e.cos, e.tanh,
         e.absolute, hnp.real, hnp.imag, hnp.conj, hnp.reciprocal, hnp.sinh, hnp.cosh,
         hnp.atan, hnp.tan]  # fmt: skip
BINARY = [e.add, e.subtract, e.multiply, e.divide, e.power]
ORDERED = [e.maximum, e.minimum, hnp.hypot, hnp.atan2, hnp.logaddexp]


@law(600)
@given(st.sampled_from(UNARY), arrays())
def test_functions_of_one_argument(f, x):
    check(f, [x])


@law(1000)
@given(st.sampled_from(BINARY), broadcastable())
def test_functions_of_two_arguments_that_broadcast(f, pair):
    check(f, pair)


@law(400)
@given(st.sampled_from(ORDERED), broadcastable())
def test_functions_of_two_real_arguments_that_broadcast(f, pair):
    x, y = (np.real(x) for x in pair)
    check(f, [x, y + y.dtype.type(2.5)])


@law(240)
@given(broadcastable(), st.integers(0, 3))
def test_where_with_a_mask_of_another_shape(pair, kind):
    x, y = pair
    shape = np.broadcast_shapes(x.shape, y.shape)
    mask = relaid(np.arange(math.prod(shape)).reshape(shape) % 3 == 0, kind)
    check(lambda x, y: hnp.where(mask, x, y), pair)


# -- reductions ---------------------------------------------------------------------------------


@law(600)
@given(st.sampled_from([hnp.sum, hnp.prod]), reduced())
def test_sums_and_products_over_any_axes(f, case):
    x, axis, keepdims = case
    check(lambda x: f(x, axis=axis, keepdims=keepdims), [x])


@law(600)
@given(st.sampled_from([hnp.mean, hnp.max, hnp.min, hnp.var]), reduced())
def test_statistics_over_any_axes(f, case):
    x, axis, keepdims = case
    if x.size == 0:
        return
    if f in (hnp.max, hnp.min, hnp.var):
        x = np.real(x)
    check(lambda x: f(x, axis=axis, keepdims=keepdims), [x])


@law(240)
@given(arrays(), st.integers(-3, 2))
def test_cumulative_sums(x, axis):
    if not -x.ndim <= axis < x.ndim:
        return
    check(lambda x: hnp.cumulative_sum(x, axis=axis), [x])


# -- products -----------------------------------------------------------------------------------


@st.composite
def factors(draw):
    """Operands of matmul: vectors, matrices, and stacks that broadcast."""
    m, k, n = (draw(SIDES) for _ in range(3))
    batch = draw(shapes(2))

    def stacked():
        part = tuple(1 if draw(st.booleans()) else size for size in batch)
        return part[draw(st.integers(0, len(batch))) :]

    a = draw(st.sampled_from([(k,), (*stacked(), m, k)]))
    b = draw(st.sampled_from([(k,), (*stacked(), k, n)]))
    return [draw(arrays(a)), draw(arrays(b))]


@law(800)
@given(factors())
def test_matrix_products(pair):
    check(hnp.matmul, pair)


@st.composite
def contractions(draw):
    """Operands and subscripts of einsum, with repeated, summed and batch indices."""
    sizes = {letter: draw(st.sampled_from([0, 1, 2, 3])) for letter in string.ascii_lowercase[:4]}
    terms = draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=3))
    used = sorted(set("".join(terms)))
    out = draw(st.permutations(used).flatmap(
        lambda order: st.integers(0, len(order)).map(lambda n: "".join(order[:n]))
    ))  # fmt: skip
    operands = [draw(arrays(tuple(sizes[letter] for letter in term))) for term in terms]
    return ",".join(terms) + "->" + out, operands


@law(500)
@given(contractions())
def test_contractions(case):
    subscripts, operands = case
    check(lambda *xs: hnp.einsum(subscripts, *xs), operands)


# -- indexing and layout ------------------------------------------------------------------------


@st.composite
def indexed(draw):
    """An array and a valid index: numbers, slices, None, ..., masks and arrays with repetitions."""
    x = draw(arrays())
    parts, arrayed = [], draw(st.booleans())
    for n in x.shape[: draw(st.integers(0, x.ndim))]:
        kinds = [slice(None), slice(None, None, -1), slice(1, None), slice(None, -1, 2), None]
        if n:
            kinds += [0, -1, n - 1]
        if n and arrayed:
            kinds += [np.array([0, n - 1, 0]), np.array([-1])]
            kinds += [np.arange(n) % 2 == 0] if not any(hasattr(p, "dtype") for p in parts) else []
        part = draw(st.sampled_from(kinds))
        if part is None:
            parts.append(slice(None))
        parts.append(part)
        if hasattr(part, "dtype") and part.dtype == bool:
            break
    if draw(st.booleans()):
        parts.append(...)
    return x, tuple(parts)


@law(800)
@given(indexed())
def test_indexing(case):
    x, index = case
    try:
        x[index]
    except IndexError:
        return
    check(lambda x: getitem(x, index), [x])


@law(240)
@given(arrays(), st.integers(0, 2))
def test_rows_by_index(x, width):
    if x.ndim == 0 or len(x) == 0:
        return
    index = np.arange(2 * width).reshape(2, width) % len(x)
    check(lambda x: take_rows(x, index), [x])


@law(480)
@given(arrays(), st.randoms(use_true_random=False))
def test_layout(x, random):
    axes = list(range(x.ndim))
    random.shuffle(axes)
    lead = random.choice([0, 1, 2])

    def f(x):
        moved = hnp.reshape(hnp.transpose(x, axes), (-1,) if x.size else (0,))
        wide = hnp.broadcast_to(x, (lead, *x.shape))
        parts = [hnp.flip(x), x] if x.ndim else [hnp.expand_dims(x, 0)] * 2
        return moved, wide, hnp.concatenate(parts, 0)

    check(f, [x])


@pytest.mark.parametrize("kind", range(4))
def test_the_layouts_are_those_they_are_meant_to_be(kind):
    x = relaid(np.arange(12.0).reshape(3, 4), kind)
    signs = [s > 0 for s in x.strides]
    assert (x.flags.c_contiguous, x.flags.f_contiguous, all(signs)) == {
        0: (True, False, True), 1: (False, True, True),
        2: (False, False, False), 3: (False, False, True),
    }[kind]  # fmt: skip
    np.testing.assert_array_equal(x, np.arange(12.0).reshape(3, 4))
