"""Sorting, searching, sets and tests of truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpcad.numpy as hnp
from hpcad import grad, vjp
from hpcad.autodiff.numerical.check import check_grads
from hpcad.autodiff.tensor import CONSTANT, Tensor, tensor
from hpcad.errors import ConfigError, DifferentiationError, ShapeError

rng = np.random.default_rng(14)
X = rng.permutation(24).reshape(2, 3, 4) * 0.5 - 3

# -- sorting ------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), max_size=40), st.sampled_from("bBhqfd?"), st.booleans())
def test_equal_elements_keep_their_order_both_ways(values, code, descending):
    x = np.array(values).astype(code)
    order = sorted(range(len(x)), key=lambda i: -float(x[i]) if descending else float(x[i]))
    np.testing.assert_array_equal(hnp.argsort(x, descending=descending), order)
    np.testing.assert_array_equal(hnp.sort(x, descending=descending), x[order])


@pytest.mark.parametrize("axis", [0, 1, -1, None])
@pytest.mark.parametrize("descending", [False, True])
def test_sorting_differentiates_as_the_permutation_it_is(axis, descending):
    check_grads(lambda x: hnp.sort(x, axis, descending=descending), [X], order=2)
    g = rng.standard_normal(X.size if axis is None else X.shape)
    (back,) = vjp(lambda x: hnp.sort(x, axis, descending=descending), X)[1](g)
    order = hnp.argsort(X, axis, descending=descending)
    assert back.shape == X.shape
    if axis is not None:
        np.testing.assert_array_equal(np.take_along_axis(back, order, axis), g)


def test_tied_elements_get_the_cotangents_of_their_places_in_stable_order():
    x = np.array([1.0, 0.0, 1.0, 1.0])
    up = vjp(hnp.sort, x)[1](np.arange(4.0))[0]
    down = vjp(lambda x: hnp.sort(x, descending=True), x)[1](np.arange(4.0))[0]
    np.testing.assert_array_equal(up, [1, 0, 2, 3])
    np.testing.assert_array_equal(down, [0, 3, 1, 2])


def test_nan_is_sorted_to_the_end_and_its_cotangent_comes_back():
    x = np.array([np.nan, 2.0, 1.0])
    np.testing.assert_array_equal(hnp.sort(x), [1, 2, np.nan])
    np.testing.assert_array_equal(vjp(hnp.sort, x)[1](np.array([5.0, 6, 7]))[0], [7, 6, 5])


@pytest.mark.parametrize("kth", [0, 2, [1, 3]])
def test_partitions_divide_and_differentiate(kth):
    parts = hnp.partition(X, kth)
    ordered = np.sort(X)
    np.testing.assert_array_equal(parts[..., kth], ordered[..., kth])
    np.testing.assert_array_equal(np.sort(parts), ordered)
    np.testing.assert_array_equal(np.take_along_axis(X, hnp.argpartition(X, kth), -1), parts)
    check_grads(lambda x: hnp.partition(x, kth), [X], order=1)


def test_lexsort_sorts_by_the_last_key_first():
    first, second = np.array([1, 1, 0]), np.array([2, 1, 2])
    np.testing.assert_array_equal(hnp.lexsort([first, second]), np.lexsort([first, second]))
    assert isinstance(hnp.lexsort([tensor(first), second]), Tensor)


# -- searching ----------------------------------------------------------------------------

INDEXES = {
    "argmax": lambda xp, x: xp.argmax(x, axis=1, keepdims=True),
    "argmin": lambda xp, x: xp.argmin(x),
    "argsort": lambda xp, x: xp.argsort(x, axis=0),
    "argwhere": lambda xp, x: xp.argwhere(x),
    "flatnonzero": lambda xp, x: xp.flatnonzero(x),
    "nonzero": lambda xp, x: xp.nonzero(x)[1],
    "where": lambda xp, x: xp.where(x)[2],
    "count_nonzero": lambda xp, x: xp.count_nonzero(x, axis=2),
    "searchsorted": lambda xp, x: xp.searchsorted(np.arange(4.0), x, side="right"),
    "sorter": lambda xp, x: xp.searchsorted(np.arange(4.0)[::-1], x, sorter=np.arange(4)[::-1]),
    "isin": lambda xp, x: xp.isin(x, [1.0, 2.0], invert=True),
    "digitize": lambda xp, x: xp.digitize(x, np.arange(4.0)),
    "all": lambda xp, x: xp.all(x, axis=(0, 2)),
    "any": lambda xp, x: xp.any(x, axis=1, keepdims=True),
    "array_equal": lambda xp, x: np.asarray(xp.array_equal(x, x)),
}


@pytest.mark.parametrize("name", INDEXES)
def test_indices_are_those_of_numpy_and_constants(name):
    function = INDEXES[name]
    np.testing.assert_array_equal(function(hnp, X), function(np, X), strict=True)

    def weighed(x):
        found = function(hnp, x)
        assert not isinstance(found, Tensor) or found.level == CONSTANT
        return (x * x).sum() + hnp.asarray(found).sum()

    np.testing.assert_array_equal(grad(weighed)(X), 2 * X)


def test_numbers_are_searched_for_in_the_dtype_of_the_line():
    line = np.array([0.1, 0.2], np.float32)
    assert hnp.searchsorted(line, 0.1) == 0
    assert hnp.searchsorted(np.array([1, 2, 3]), 2, side="right") == 2


def test_where_gives_what_was_not_chosen_the_cotangent_zero():
    check_grads(lambda x, y: hnp.where(X > 0, x, y), [X, X + 1], order=1)
    with pytest.raises(ConfigError, match="both alternatives"):
        hnp.where(X > 0, X)


def test_nonzero_of_a_number_is_refused():
    with pytest.raises(ShapeError, match="at least one dimension"):
        hnp.nonzero(np.array(1.0))


# -- sets ---------------------------------------------------------------------------------

VALUES = {
    "unique_values": lambda xp, x: xp.unique_values(x),
    "unique": lambda xp, x: xp.unique(x, return_counts=True)[1],
    "unique_all": lambda xp, x: xp.unique_all(x).inverse_indices,
    "unique_counts": lambda xp, x: xp.unique_counts(x).counts,
    "unique_inverse": lambda xp, x: xp.unique_inverse(x).values,
    "intersect1d": lambda xp, x: xp.intersect1d(x, np.arange(5.0)),
    "setdiff1d": lambda xp, x: xp.setdiff1d(x, np.arange(5.0)),
    "setxor1d": lambda xp, x: xp.setxor1d(x, np.arange(5.0)),
    "union1d": lambda xp, x: xp.union1d(x, np.arange(5.0)),
    "histogram": lambda xp, x: xp.histogram(x, 4)[1],
}


@pytest.mark.parametrize("name", VALUES)
def test_sets_are_those_of_numpy_and_refuse_tracked_tensors_by_name(name):
    x = np.round(X / 2)
    function = VALUES[name]
    np.testing.assert_array_equal(np.sort(function(hnp, x)), np.sort(function(np, x)))
    assert isinstance(function(hnp, tensor(x)), Tensor)
    with pytest.raises(DifferentiationError, match=rf"(unique_all|{name}) has no derivative rule"):
        grad(lambda x: function(hnp, x).sum())(x)


def test_every_nan_is_distinct():
    found = hnp.unique_all(np.array([np.nan, 1.0, np.nan, 1.0]))
    np.testing.assert_array_equal(found.values, [1, np.nan, np.nan])
    np.testing.assert_array_equal(found.counts, [2, 1, 1])
    np.testing.assert_array_equal(hnp.unique(np.array([np.nan, 1.0, np.nan])), [1, np.nan])


def test_counts_of_small_numbers_are_those_of_numpy():
    x, w = np.array([1, 0, 1, 4]), np.array([0.5, 1, 2, 4])
    np.testing.assert_array_equal(hnp.bincount(x, minlength=7), np.bincount(x, minlength=7))
    np.testing.assert_array_equal(hnp.bincount(x, w), np.bincount(x, w))
