"""Products with all layouts, types and epilogues have the numbers that NumPy finds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .arrays import TYPES
from .cases import ENDS, check

size = st.sampled_from([1, 2, 3, 5, 8, 16, 17])
layout = st.tuples(st.booleans(), st.sampled_from([0, 1, 3, 8]), st.sampled_from([0, 1, 8]))
batches = st.sampled_from([
    ((), ()), ((3,), (3,)), ((3,), ()), ((), (3,)), ((2, 3), (2, 3)), ((2, 1), (1, 3)),
    ((2, 3), ()), ((1,), (1,)), ((4, 2, 3), (2, 3)),
])  # fmt: skip


case = st.tuples(
    size, size, size, batches, st.sampled_from(TYPES), st.sampled_from(ENDS),
    st.sampled_from([1.0, 0.5]), st.sampled_from([0.0, 1.0, -0.5]),
    st.tuples(layout, layout, layout), st.integers(0, 99),
)  # fmt: skip


@settings(max_examples=100, deadline=None, derandomize=True)
@given(case)
def test_every_product_that_is_bound_is_right(xp, case):
    check(xp, case)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(case)
def test_many_products_that_are_bound_are_right(xp, case):
    check(xp, case)


@pytest.mark.parametrize("types", TYPES, ids="-".join)
@pytest.mark.parametrize(("a", "b", "c"), list(itertools.product([False, True], repeat=3)))
def test_no_layout_of_matrices_needs_a_copy(xp, types, a, b, c):
    layouts = [(x, 8, 0) for x in (a, b, c)]
    assert check(xp, (5, 7, 6, ((), ()), types, "", 2.0, 1.0, layouts, 0))
    assert check(xp, (5, 7, 6, ((3,), (3,)), types, "", 2.0, 1.0, layouts, 0))


@pytest.mark.parametrize("end", ENDS)
def test_every_epilogue_is_bound_beside_rows(xp, end):
    layouts = [(False, 0, 0)] * 3
    assert check(xp, (5, 16, 6, ((), ()), ("float32", "float32"), end, 1.0, 1.0, layouts, 0))


@pytest.mark.parametrize("end", ["relu", "gelu", "gelu_aux", "dgelu"])
def test_epilogues_without_a_vector_are_bound_beside_columns(xp, end):
    layouts = [(False, 0, 0), (False, 0, 0), (True, 0, 0)]
    assert check(xp, (16, 5, 6, ((2,), (2,)), ("float32", "float32"), end, 1.0, 1.0, layouts, 0))


@pytest.mark.parametrize("end", ["bgrad_a", "bgrad_b"])
@pytest.mark.parametrize("turned", [False, True])
def test_sums_of_operands_beside_rows_and_columns(xp, end, turned):
    layouts = [(False, 0, 0), (True, 0, 0), (turned, 0, 0)]
    assert check(xp, (5, 16, 6, ((), ()), ("float32", "float32"), end, 1.0, 1.0, layouts, 0))


@pytest.mark.parametrize("end", ["gelu_aux", "dgelu"])
@pytest.mark.parametrize("batch", [((2, 1), (1, 3)), ((3, 2), (2,)), ((4,), ())])
def test_aux_of_every_product_of_a_batch(xp, end, batch):
    layouts = [(False, 1, 0), (False, 0, 0), (False, 8, 0)]
    assert check(xp, (5, 16, 6, batch, ("float32", "float32"), end, 1.0, 0.0, layouts, 0))
